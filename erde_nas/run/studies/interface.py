"""What a search needs of the place where its trials are kept."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from erde_nas.space.trial import Proposal, Trial


class Study(Protocol):
    """Finished trials in the order of their completion, and who is at which candidate."""

    def trials(self) -> list[Trial]:
        """All finished trials."""

    def news(self) -> list[Trial]:
        """The trials that were finished since the last call, whoever evaluated them; at first, all."""

    def lost(self) -> list[Proposal]:
        """Candidates that nobody is at any more although they are not finished."""

    def claim(self, proposal: Proposal, student: str, total: int) -> bool:
        """Whether the candidate is this search's to evaluate: nobody else has it, and `total` is not reached."""

    def add(self, trial: Trial) -> None:
        """Store a finished trial of a claimed candidate whole; its number is given here."""

    def open_places(self, total: int) -> int:
        """How many candidates are missing to `total`, those that somebody is at not counted."""

    def elsewhere(self) -> int:
        """How many candidates other searches are at, or have left behind."""

    def agree(self, name: str, find_out: Callable[[], Any]) -> Any:
        """What all searches of the study hold true under `name`: what the first of them found out. JSON-ready."""

    def at_work(self) -> AbstractContextManager[None]:
        """Evaluate candidates inside: others see that this search is alive. Afterwards its claims are given back."""

    def close(self) -> None:
        """Let go of files and connections."""
