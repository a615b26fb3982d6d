"""What came of comparing a teacher with a student that learnt without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Validation accuracy of each one's best exit; `student` is None where its training failed."""

    teacher: float
    student: float | None

    @property
    def trusted(self) -> bool:
        """Whether the teacher is better."""
        return self.student is None or self.teacher > self.student

    def text(self) -> str:
        """What came out, for one that is not trusted."""
        return (
            f"the teacher is right on {self.teacher:.1%} of the validation images, a student of middling size that "
            f"learnt briefly without it on {self.student or 0:.1%}: students learn without it, with cross-entropy"
        )
