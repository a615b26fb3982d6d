"""The points of a report as rows: what each is called, what it costs, and how it compares with the teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot
from typing import Literal

from erde_nas.report.units import MISSING, one_line
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.objectives import expected_cost
from erde_nas.report_data.point import Point, Role
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, known, uncertainty

Kind = Literal["student", "baseline", "teacher"]
MACS = "macs"  # the cost that needs no profile
ROLE_NAMES: dict[Role, str] = {
    "student": "student",
    "teacher": "teacher",
    "teacher_with_exits": "teacher with its own exits",
    "student_without_exits": "best student without exits",
}


@dataclass(frozen=True)
class Row:
    """One operating point, and where it stands in the report. `index` counts within "points", "baselines" or is 0."""

    kind: Kind
    index: int
    point: Point
    objectives: Mapping[str, str] = field(default_factory=dict, compare=False)  # by profile, where not the mean

    @property
    def name(self) -> str:
        """What a reader calls it: the student's id, the baseline's role, "teacher"."""
        if self.kind == "teacher":
            return ROLE_NAMES["teacher"]
        if self.kind == "baseline" and self.point.role != "student":
            return baseline_name(self.point)
        return one_line(self.point.student or "unnamed")

    @property
    def stage(self) -> str:
        """searched, finished, pruned or quantized."""
        return self.point.stage

    @property
    def offered(self) -> bool:
        """Whether the report recommends it."""
        return self.point.offered

    @property
    def deployed(self) -> bool:
        """Whether it is a student that was trained to the end and exists as a file."""
        return self.kind == "student" and self.stage != "searched"

    def latency(self, profile: str) -> Latency | None:
        """Its latency under `profile`, if any."""
        return self.point.latency_ms.get(profile)

    def mean(self, profile: str) -> float | None:
        """The measured mean in milliseconds under `profile`, if any."""
        latency = self.latency(profile)
        return None if latency is None else latency.mean

    def cost(self, cost: str) -> float | None:
        """MACs, or what the objective of the profile `cost` says: measured, else estimated where that can be."""
        if cost == MACS:
            return self.point.macs
        latency, objective = self.latency(cost), self.objectives.get(cost, "mean")
        if latency is None or latency.mean is not None:
            return None if latency is None else latency.cost(objective)
        if objective == "energy":
            return None
        if objective == "mean" or len(latency.per_exit) != len(self.point.exit_fractions):
            return latency.expected_mean
        return float(expected_cost(self.point.exit_fractions, latency.per_exit, objective))

    @property
    def exit_blocks(self) -> tuple[int, ...]:
        """The blocks, counted from 0, on which its exits sit; empty where the architecture is not known."""
        return self.point.exit_blocks


def baseline_name(point: Point) -> str:
    """What a reader calls a baseline: its role, and its precision where that is not fp32."""
    precisions = {latency.precision for latency in point.latency_ms.values()} - {"fp32"}
    return ", ".join([ROLE_NAMES[point.role], *sorted(precisions)])


def objectives_of(report: Report) -> dict[str, str]:
    """The cost by which students are judged under each profile, where it is not the mean."""
    return {name: facts.objective for name, facts in report.profiles.items() if facts.objective != "mean"}


def student_rows(report: Report) -> list[Row]:
    """All operating points of students, in the report's order."""
    judged_by = objectives_of(report)
    return [Row("student", index, point, judged_by) for index, point in enumerate(report.points)]


def baseline_rows(report: Report) -> list[Row]:
    """The baselines, in the report's order."""
    return [Row("baseline", index, point, objectives_of(report)) for index, point in enumerate(report.baselines)]


def teacher_row(report: Report) -> Row | None:
    """The teacher, unless the run was interrupted before it was there."""
    return None if report.teacher is None else Row("teacher", 0, report.teacher, objectives_of(report))


def comparison_rows(report: Report) -> list[Row]:
    """The baselines, then the teacher."""
    teacher = teacher_row(report)
    return baseline_rows(report) + ([teacher] if teacher else [])


def profile_names(report: Report) -> list[str]:
    """Every profile with a latency or a declaration, declared ones first."""
    names = dict.fromkeys(report.profiles)
    for row in student_rows(report) + comparison_rows(report):
        names.update(dict.fromkeys(row.point.latency_ms))
    return list(names)


def front_rows(report: Report, cost: str) -> list[Row]:
    """The offered non-dominated points in (validation error, `cost`), cheapest first; empty where not given.

    While no student has been measured, those by estimates.
    """
    on_front = set(report.fronts.get(cost) or report.estimated_fronts.get(cost, ()))
    rows = [row for row in student_rows(report) if row.index in on_front]
    return by_cost(rows, cost)


def by_cost(rows: list[Row], cost: str) -> list[Row]:
    """The rows that have this cost, cheapest first."""
    priced = [(value, row) for row in rows if (value := row.cost(cost)) is not None]
    return [row for _, row in sorted(priced, key=lambda pair: pair[0])]


def best_rows(report: Report) -> list[Row]:
    """The offered students, in the report's order; while none has been measured, those on a front by estimates."""
    estimated = {index for front in report.estimated_fronts.values() for index in front}
    return [row for row in student_rows(report) if row.offered or row.index in estimated]


def offered_rows(report: Report, cost: str) -> list[Row]:
    """The same, cheapest first: those that exist as files, or the searched ones while none does."""
    best = best_rows(report)
    front = {row.index for row in front_rows(report, cost)}
    return by_cost([row for row in best if row.deployed or row.index in front], cost) or by_cost(best, cost)


def comparable_teacher(report: Report, row: Row, profile: str) -> tuple[str, float] | None:
    """The profile and the measured mean (ms) of the teacher that `row` under `profile` may be compared with.

    A teacher that is not quantized has no latency under an int8 profile. The comparison is then with the profile that
    differs in precision alone.
    """
    teacher, own = teacher_row(report), row.latency(profile)
    if teacher is None or own is None:
        return None
    for name in (profile, *teacher.point.latency_ms):
        other = teacher.latency(name)
        if other is not None and other.mean is not None and (name == profile or _setting(other) == _setting(own)):
            return name, other.mean
    return None


def _setting(latency: Latency) -> tuple[str, str, int, int]:
    """What two latencies that are compared have in common, whatever their precision."""
    return latency.runtime, latency.device, latency.threads, latency.batch_size


def teacher_latency(report: Report, row: Row, profile: str) -> Latency | None:
    """The teacher's latency that `row` under `profile` is compared with, if there is one."""
    compared, teacher = comparable_teacher(report, row, profile), teacher_row(report)
    return teacher.latency(compared[0]) if compared and teacher else None


def show_speed_up(report: Report, row: Row, profile: str) -> str:
    """The speed-up with the digits that are known, "9.4x"; with a ! where one of its two latencies is in doubt."""
    factor = speed_up(report, row, profile)
    if factor is None:
        return MISSING
    mark = "!" if doubts(row.latency(profile)) or doubts(teacher_latency(report, row, profile)) else ""
    return f"{known(factor, speed_up_uncertainty(report, row, profile))}x{mark}"


def speed_up_uncertainty(report: Report, row: Row, profile: str) -> float:
    """How far the speed-up may be off, relative to itself: both latencies may."""
    if row.kind == "teacher":
        return 0.0
    return hypot(uncertainty(row.latency(profile)), uncertainty(teacher_latency(report, row, profile)))


def speed_up(report: Report, row: Row, profile: str) -> float | None:
    """The teacher's measured mean latency over the row's own; None unless both were measured."""
    mean = row.mean(profile)
    teacher = comparable_teacher(report, row, profile)
    return teacher[1] / mean if teacher and mean else None
