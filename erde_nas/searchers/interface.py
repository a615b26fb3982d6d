"""What a search needs of a space and gives to the pipeline (`Searcher`), and what one strategy must do (`Strategy`)."""

from collections.abc import Mapping
from typing import Protocol

from erde_nas.records import Choice, Proposal, Trial

Parameters = Mapping[str, tuple[Choice, ...]]


class SearchSpace(Protocol):
    """What may vary. Every parameter is a choice; the order of the choices means something (widths ascend)."""

    @property
    def parameters(self) -> Parameters:
        """The choices of every parameter."""

    def identify(self, params: Mapping[str, Choice]) -> str:
        """The id of the architecture that `params` mean; different params can mean the same one."""


class Searcher(Protocol):
    """Proposes candidates and learns from trials. Its proposals depend on its seed and on what it was told alone."""

    def ask(self) -> Proposal:
        """A candidate that was neither proposed nor told before. Raises SpaceExhausted when nothing new is left."""

    def tell(self, trial: Trial) -> None:
        """Learn from a trial: its own, or one of an earlier process. Raises UserError for params outside the space."""


class Strategy(Protocol):
    """One way to suggest candidates. `suggest` leaves no trace: equal tells and an equal seed give an equal answer."""

    def suggest(self, seed: int) -> Proposal:
        """A candidate of the space, possibly one that was suggested before."""

    def tell(self, trial: Trial) -> None:
        """Learn from a checked trial."""
