"""A run's folder -> its students at their operating points: the front, the best one, the report."""

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from erde_nas.api.inputs import folder_of, number_of
from erde_nas.api.student import Student, Students, profile_name
from erde_nas.api.tables import Records, html_table, lines_html
from erde_nas.errors import UserError
from erde_nas.files import is_locked
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.report.answer import answer_text
from erde_nas.report.build import write_report
from erde_nas.report.markdown import state_of
from erde_nas.report.tables import front_table, front_tables, summary_sentence
from erde_nas.report_data.goal import GoalOutcome
from erde_nas.report_data.json_records import to_json
from erde_nas.report_data.report import Report
from erde_nas.report_data.report_file import FILE, MANIFEST, read_report


@dataclass(frozen=True, repr=False)
class Run:
    """A run that has a report. `results` is its report, `target` what came of the goal of `compress`."""

    folder: Path
    results: Report
    target: GoalOutcome | None = None

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe as it was run."""
        from erde_nas.run.folder import existing_run

        return existing_run(self.folder).recipe()

    @cached_property
    def profiles(self) -> tuple[HardwareProfile, ...]:
        """The hardware profiles in the order in which they were given."""
        from erde_nas.run.folder import existing_run

        return tuple(existing_run(self.folder).profiles())

    @cached_property
    def teacher(self) -> Student | None:
        """The teacher without early exits; None where the run was interrupted before it was measured."""
        found = self.results.teacher
        return None if found is None else Student(self.folder, self.results, found)

    @cached_property
    def baselines(self) -> Students:
        """What students are held against: the teacher in other forms, and the best student without exits."""
        return Records(Student(self.folder, self.results, point) for point in self.results.baselines)

    @cached_property
    def _points(self) -> Students:
        return Records(Student(self.folder, self.results, point) for point in self.results.points)

    def points(self) -> Students:
        """Every operating point of the report, also those that it does not offer."""
        return self._points

    def front(self, profile: str | None = None) -> Students:
        """The points that no other one dominates in validation error and measured mean latency, the fastest first.

        Args:
            profile: one of the run's, or macs for the front by MACs; None: those on the front of any profile, in the
                order of the report.

        Raises:
            UserError: for a name that is none of these.
        """
        fronts = self.results.fronts
        if profile is not None and profile not in fronts:
            raise UserError(f"{self.folder} has no profile '{profile}'; it has {', '.join(fronts)}")
        if profile is not None:
            return Records(self._points[index] for index in fronts[profile])
        names = list(self.results.profiles)
        if len(names) == 1:
            return self.front(names[0])
        return Records(self._points[index] for index in sorted({i for name in names for i in fronts[name]}))

    def best(self, profile: str | None = None, *, max_drop: float = 0.01) -> Student:
        """The fastest student whose validation accuracy is at most `max_drop` below the teacher's.

        Args:
            profile: whose measured mean latency counts; may be left out where the run has one profile.
            max_drop: as a share of the images: 0.01 is one point of accuracy.

        Raises:
            UserError: where no student is as accurate, and for a profile that the run has not.
        """
        number_of("max_drop", max_drop, -1, 1)
        name, teacher = profile_name(self.folder, self.results, profile), self.teacher
        front = self.front(name)
        if teacher is None or not front:
            raise UserError(f"{self.folder} has no student yet that was measured under {name}; continue its search")
        drops = [(teacher.val_accuracy - student.val_accuracy, student) for student in front]
        close = [student for drop, student in drops if drop <= max_drop + 1e-9]
        if not close:
            drop, nearest = min(drops, key=lambda pair: pair[0])
            raise UserError(
                f"no student of {self.folder} is within max_drop={max_drop:g} of the teacher's accuracy on validation "
                f"under {name}; the nearest is {nearest.name}, {drop:.4f} below"
            )
        return min(close, key=lambda student: (student.latency(name).mean or 0.0, -student.val_accuracy))

    def student(self, name: str) -> Student:
        """The student of that id, at its most accurate point; one that is offered, where it has such.

        Raises UserError, with the students that there are, for another name.
        """
        found = [student for student in self._points if student.name == name]
        if not found:
            names = ", ".join(dict.fromkeys(student.name for student in self._points)) or "none"
            raise UserError(f"{self.folder} has no student '{name}'; it has {names}")
        return max(found, key=lambda student: (student.point.offered, student.val_accuracy))

    @property
    def unmeasured(self) -> dict[str, str]:
        """The profiles that gave no numbers, and why: a device was lost. The same search, run again, measures there."""
        return self.results.unmeasured

    def report(self) -> list[Path]:
        """Write the report's files again: pareto.csv, report.md, report.html, front.png, pareto.json; their paths.

        Raises UserError where the folder cannot be written.
        """
        return write_report(self.folder, self.results)

    def to_dict(self) -> dict[str, Any]:
        """What pareto.json holds, as JSON-ready values."""
        return to_json(self.results)

    def __str__(self) -> str:
        state = f"{found}\n\n" if (found := state_of(self.results)) else ""
        return f"{state}{front_table(self.results)}\n\n{answer_text(self.results, self.folder)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = []
        for table in front_tables(self.results, full=False):
            parts += [lines_html([table.title]), html_table(table.headers, table.cells, table.right)]
            parts += [lines_html(table.notes)]
        target = [] if self.target is None else self.target.text.splitlines()
        return "\n".join([*parts, lines_html([summary_sentence(self.results), *target])])


def load_run(folder: str | PathLike[str], *, so_far: bool = False) -> Run:
    """The run in a folder, as its report describes it.

    Args:
        folder: the run's.
        so_far: of a run that is at work, or has no report yet, what it has found until now; its `results` are marked
            `unfinished`.

    Raises:
        UserError: where there is no run, none with a report (or with `so_far` a candidate) yet, or one whose report is
            damaged.
    """
    out = folder_of(folder)
    if so_far and _grows(out):
        from erde_nas.results.so_far import report_so_far

        return Run(out, report_so_far(out))
    return Run(out, read_report(out))


def _grows(folder: Path) -> bool:
    """Whether a folder holds a run that knows more than its report: it is at work, or was ended without a new one."""
    if not (folder / MANIFEST).is_file():
        return False
    report, study = folder / FILE, folder / "study.db"
    if is_locked(folder / ".lock") or not report.is_file():
        return True
    newer = study.is_file() and study.stat().st_mtime > report.stat().st_mtime
    return newer and read_report(folder).interrupted


def run_of(run: Run | str | PathLike[str]) -> Run:
    """The run itself, or that of a folder."""
    return run if isinstance(run, Run) else load_run(run)
