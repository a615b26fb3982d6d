"""One sentence: what the best student gains over the teacher."""

from dataclasses import dataclass

from erde_nas.report.points import (
    Report,
    Row,
    comparable_teacher,
    profile_names,
    speed_up,
    student_rows,
    teacher_row,
)
from erde_nas.report.units import latency_unit, percent, significant

TOLERANCE = 0.01  # a student this far below the teacher's test accuracy still replaces it
ROUNDING = 1e-9  # 0.98 - 0.97 is a little more than 0.01 in floating point


@dataclass(frozen=True)
class Candidate:
    """A student at the profile where it gains most; `profile` is "" where no speed-up was measured."""

    row: Row
    profile: str
    factor: float

    @property
    def accuracy(self) -> float:
        return self.row.point["test_accuracy"]


def summary_sentence(report: Report) -> str:
    """What the best offered student gains, by measured latency, within 1 point of the teacher's test accuracy.

    Where no student is within 1 point, the sentence says so and describes the most accurate one.
    """
    teacher = teacher_row(report)
    if teacher is None or teacher.point.get("test_accuracy") is None:
        return "The teacher has no test accuracy yet, so no student can be compared with it."
    candidates = _candidates(report)
    if not candidates:
        return "No offered student has been trained to the end and tested yet, so there is no gain to report."
    floor = teacher.point["test_accuracy"] - TOLERANCE - ROUNDING
    close = [candidate for candidate in candidates if candidate.accuracy >= floor]
    if close:
        best = max(close, key=lambda candidate: (candidate.factor, candidate.accuracy))
        return f"Student {best.row.name} ({best.row.stage}) {_gain(report, teacher, best)}."
    best = max(candidates, key=lambda candidate: (candidate.accuracy, candidate.factor))
    return (
        "No offered student is within 1 point of the teacher's test accuracy: the closest, "
        f"{best.row.name} ({best.row.stage}), {_gain(report, teacher, best)}."
    )


def _candidates(report: Report) -> list[Candidate]:
    found = []
    for row in student_rows(report):
        if not (row.offered and row.deployed) or row.point.get("test_accuracy") is None:
            continue
        factors = [(factor, name) for name in profile_names(report) if (factor := speed_up(report, row, name))]
        factor, profile = max(factors, key=lambda pair: pair[0], default=(0.0, ""))  # the first of equal ones
        found.append(Candidate(row, profile, factor))
    return found


def _gain(report: Report, teacher: Row, best: Candidate) -> str:
    return (
        f"{_speed(report, best)}{_macs(teacher, best.row)}, with a test accuracy of {_accuracy(best.row)} "
        f"against the teacher's {_accuracy(teacher)}"
    )


def _speed(report: Report, best: Candidate) -> str:
    compared = comparable_teacher(report, best.row, best.profile)
    mean = (best.row.latency(best.profile) or {}).get("mean")
    if compared is None or mean is None:
        return "has no latency that was measured beside the teacher's"
    teacher_profile, teacher_ms = compared
    unit = latency_unit([mean, teacher_ms])
    elsewhere = "" if teacher_profile == best.profile else f", the teacher under {teacher_profile}"
    slower = ", so it is slower" if best.factor < 1 else ""
    return (
        f"is {significant(best.factor)} times as fast as the teacher{slower} (measured mean over the stream of "
        f"validation images: {unit.show_with_symbol(mean)} instead of {unit.show_with_symbol(teacher_ms)}; "
        f"profile {best.profile}{elsewhere})"
    )


def _macs(teacher: Row, row: Row) -> str:
    own, other = row.point.get("macs"), teacher.point.get("macs")
    if not own or not other:
        return ""
    factor = f"{significant(other / own)}x fewer" if own <= other else f"{significant(own / other)}x more"
    return f" and needs {factor} MACs"


def _accuracy(row: Row) -> str:
    text = f"{percent(row.point['test_accuracy'])}%"
    interval = row.point.get("test_accuracy_ci95")
    return f"{text} (95% CI {percent(interval[0])}-{percent(interval[1])})" if interval else text
