"""What a search needs of a space and gives to the pipeline (`Searcher`), and what one strategy must do (`Strategy`)."""

from collections.abc import Callable
from typing import Protocol

from erde_nas.space.interface import Params
from erde_nas.space.trial import Proposal, Trial

Seen = Callable[[Params], bool]
"""Whether params mean an architecture that was proposed or told before."""


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
