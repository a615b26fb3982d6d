"""What a searcher needs of a space: its choices, and what different choices mean."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from erde_nas.space.trial import Choice

Parameters = Mapping[str, tuple[Choice, ...]]


Params = Mapping[str, Choice]


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
