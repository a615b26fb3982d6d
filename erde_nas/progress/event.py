"""What happens in long work, as records: the panel, the lines, the log and a caller's function hear the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from erde_nas.progress.time_left import duration


@dataclass(frozen=True)
class Candidate:
    """One that a search evaluated: its accuracy on validation, 0..1, the MACs that an image takes on average, and the
    estimated mean milliseconds by profile. Nothing of these is known where it failed."""

    student: str
    state: Literal["complete", "over limits", "failed"]
    val_accuracy: float = 0.0
    macs: float = 0.0
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """So much of the work is done, `share` from 0 to 1, and `left_s` seconds are left, if that can be told yet.

    `val_accuracy` is the teacher's, 0..1, and `state` how the work ended: done, interrupted or failed.
    """

    time: datetime
    kind: Literal["note", "progress", "teacher", "candidate", "end"]
    stage: str
    share: float
    left_s: float | None
    text: str
    candidate: Candidate | None = None
    val_accuracy: float | None = None
    state: str = ""

    @property
    def left(self) -> str:
        """The time left in words; empty where it cannot be told yet, and where nothing is left."""
        return "" if self.left_s is None else f"about {duration(self.left_s)} left"

    @property
    def news(self) -> tuple[str, ...]:
        """Two events in which this is the same say nothing new."""
        return self.kind, self.stage, self.text, f"{self.share:.0%}"


class View(Protocol):
    """Where events go."""

    def start(self) -> None:
        """Events follow. Raises UserError where it cannot show them."""

    def hear(self, event: Event) -> None:
        """Show it."""

    def stop(self) -> None:
        """No event follows."""
