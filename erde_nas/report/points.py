"""Reads the report model, the dict that becomes `pareto.json` (POINT is `front.point.Point.to_dict()`).

Only "points", "teacher" and "baselines" are relied on; every extension of the contract may be absent.
"""

from dataclasses import dataclass
from math import hypot
from typing import Any, Literal

from erde_nas.front.point import Role
from erde_nas.front.uncertainty import doubts, known, uncertainty
from erde_nas.report.units import MISSING, one_line

Report = dict[str, Any]
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
    point: dict[str, Any]

    @property
    def name(self) -> str:
        """What a reader calls it: the student's id, the baseline's role, "teacher"."""
        if self.kind == "teacher":
            return ROLE_NAMES["teacher"]
        if self.kind == "baseline" and self.point.get("role", "student") != "student":
            return baseline_name(self.point)
        return one_line(str(self.point.get("student") or "unnamed"))

    @property
    def stage(self) -> str:
        """searched, finished, pruned or quantized."""
        return one_line(str(self.point.get("stage") or ""))

    @property
    def offered(self) -> bool:
        """Whether the report recommends it."""
        return bool(self.point.get("offered", True))

    @property
    def deployed(self) -> bool:
        """Whether it is a student that was trained to the end and exists as a file."""
        return self.kind == "student" and self.stage != "searched"

    def latency(self, profile: str) -> dict[str, Any] | None:
        """Its latency entry under `profile`, if any."""
        return (self.point.get("latency_ms") or {}).get(profile)

    def cost(self, cost: str) -> float | None:
        """MACs, or milliseconds under the profile `cost`: the measured mean, else the estimated one."""
        if cost == MACS:
            return self.point.get("macs")
        entry = self.latency(cost) or {}
        return entry["mean"] if entry.get("mean") is not None else entry.get("expected_mean")

    @property
    def exit_blocks(self) -> tuple[int, ...]:
        """The blocks, counted from 0, on which its exits sit; empty where the architecture is not known."""
        return tuple(exit_["block"] for exit_ in (self.point.get("arch") or {}).get("exits", ()))


def baseline_name(point: dict[str, Any]) -> str:
    """What a reader calls a baseline: its role, and its precision where that is not fp32."""
    precisions = {entry["precision"] for entry in point["latency_ms"].values()} - {"fp32"}
    return ", ".join([ROLE_NAMES[point["role"]], *sorted(precisions)])


def student_rows(report: Report) -> list[Row]:
    """All operating points of students, in the report's order."""
    return [Row("student", index, point) for index, point in enumerate(report.get("points") or [])]


def baseline_rows(report: Report) -> list[Row]:
    """The baselines, in the report's order."""
    return [Row("baseline", index, point) for index, point in enumerate(report.get("baselines") or [])]


def teacher_row(report: Report) -> Row | None:
    """The teacher, unless the run was interrupted before it was there."""
    return Row("teacher", 0, report["teacher"]) if report.get("teacher") else None


def comparison_rows(report: Report) -> list[Row]:
    """The baselines, then the teacher."""
    teacher = teacher_row(report)
    return baseline_rows(report) + ([teacher] if teacher else [])


def profile_names(report: Report) -> list[str]:
    """Every profile with a latency or a declaration, declared ones first."""
    names = dict.fromkeys(report.get("profiles") or {})
    for row in student_rows(report) + comparison_rows(report):
        names.update(dict.fromkeys(row.point.get("latency_ms") or {}))
    return list(names)


def front_rows(report: Report, cost: str) -> list[Row]:
    """The offered non-dominated points in (validation error, `cost`), cheapest first; empty where not given."""
    on_front = set((report.get("fronts") or {}).get(cost) or ())
    rows = [row for row in student_rows(report) if row.index in on_front]
    return by_cost(rows, cost)


def by_cost(rows: list[Row], cost: str) -> list[Row]:
    """The rows that have this cost, cheapest first."""
    priced = [(value, row) for row in rows if (value := row.cost(cost)) is not None]
    return [row for _, row in sorted(priced, key=lambda pair: pair[0])]


def offered_rows(report: Report, cost: str) -> list[Row]:
    """The offered students, cheapest first: those that exist as files, or the searched ones while none does."""
    offered = [row for row in student_rows(report) if row.offered]
    front = {row.index for row in front_rows(report, cost)}
    return by_cost([row for row in offered if row.deployed or row.index in front], cost) or by_cost(offered, cost)


def comparable_teacher(report: Report, row: Row, profile: str) -> tuple[str, float] | None:
    """The profile and the measured mean (ms) of the teacher that `row` under `profile` may be compared with.

    A teacher that is not quantized has no latency under an int8 profile. The comparison is then with the profile that
    differs in precision alone.
    """
    teacher, own = teacher_row(report), row.latency(profile)
    if teacher is None or own is None:
        return None
    entries = teacher.point.get("latency_ms") or {}
    for name in (profile, *entries):
        entry = entries.get(name) or {}
        alike = all(entry.get(key) == own.get(key) for key in ("runtime", "device", "threads", "batch_size"))
        if entry.get("mean") is not None and (name == profile or alike):
            return name, entry["mean"]
    return None


def teacher_latency(report: Report, row: Row, profile: str) -> dict[str, Any]:
    """The teacher's latency that `row` under `profile` is compared with; empty where there is none."""
    compared, teacher = comparable_teacher(report, row, profile), teacher_row(report)
    return (teacher.latency(compared[0]) or {}) if compared and teacher else {}


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
    mean = (row.latency(profile) or {}).get("mean")
    teacher = comparable_teacher(report, row, profile)
    return teacher[1] / mean if teacher and mean else None
