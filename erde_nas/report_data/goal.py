"""What came of a goal: which measured student reaches it, or comes nearest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GoalOutcome:
    """What came of a goal under a profile; `student` and `file` are None where none was measured there.

    `file` is below the run's folder.
    """

    profile: str
    goal: dict[str, float]
    reached: bool
    text: str
    student: str | None = None
    file: str | None = None
    thresholds: tuple[float, ...] = ()
    export: str | None = None  # the command that writes the folder to ship
