"""What a search needs of a space and gives to the pipeline (`Searcher`), and what one strategy must do (`Strategy`)."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from erde_nas.records import Choice, Proposal, Trial

Parameters = Mapping[str, tuple[Choice, ...]]
Params = Mapping[str, Choice]
Seen = Callable[[Params], bool]
"""Whether params mean an architecture that was proposed or told before."""


class SearchSpace(Protocol):
    """What may vary. Every parameter is a choice; the order of the choices means something (widths ascend)."""

    @property
    def parameters(self) -> Parameters:
        """The choices of every parameter."""

    def identify(self, params: Mapping[str, Choice]) -> str:
        """The id of the architecture that `params` mean; different params can mean the same one."""


class Variation(Protocol):
    """How candidates are made of others. No method changes its arguments; what they return is in the space."""

    def cross(self, first: Params, second: Params, generator: np.random.Generator) -> dict[str, Choice]:
        """A child of two parents; of two equal ones, one that means the same."""

    def canonical(self, params: Params) -> dict[str, Choice]:
        """Params that mean the same, written alike wherever the meaning is."""

    def mutate(self, params: Params, generator: np.random.Generator) -> dict[str, Choice]:
        """A copy with one change."""


@runtime_checkable
class VariedSpace(SearchSpace, Protocol):
    """A space that knows how its architectures vary; for others see `children.OrderedChoices`."""

    @property
    def variation(self) -> Variation:
        """Crossover and mutation that fit the space."""


@runtime_checkable
class CostedSpace(SearchSpace, Protocol):
    """A space that knows something of what its architectures cost before they are trained."""

    def costs(self, params: Params) -> tuple[float, ...]:
        """Positive numbers, as many for all params, by which architectures can be compared."""


class Searcher(Protocol):
    """Proposes candidates and learns from trials. Its proposals depend on its seed and on what it was told alone."""

    def ask(self) -> Proposal:
        """A candidate that was neither proposed nor told before. Raises SpaceExhausted when nothing new is left."""

    def tell(self, trial: Trial) -> None:
        """Learn from a trial: its own, or one of an earlier process. Raises UserError for params outside the space."""


class Strategy(Protocol):
    """One way to suggest candidates. `suggest` leaves no trace: equal tells, an equal seed and equal answers of `seen`
    give an equal answer."""

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """A candidate of the space, possibly one that was seen before: then the next seed is tried."""

    def tell(self, trial: Trial) -> None:
        """Learn from a checked trial."""
