"""One sentence: what the best student gains over the teacher."""

from dataclasses import dataclass

from erde_nas.report.points import (
    Row,
    comparable_teacher,
    profile_names,
    speed_up,
    speed_up_uncertainty,
    student_rows,
    teacher_latency,
    teacher_row,
)
from erde_nas.report.units import latency_unit, percent, significant
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, doubts_of_both, known, uncertainty

TOLERANCE = 0.01  # a student this far below the teacher's test accuracy still replaces it
ROUNDING = 1e-9  # 0.98 - 0.97 is a little more than 0.01 in floating point


@dataclass(frozen=True)
class Candidate:
    """A student at the profile where it gains most; `profile` is "" where no speed-up was measured."""

    row: Row
    profile: str
    factor: float
    uncertain: float = 0.0  # of itself: how far the factor may be off

    @property
    def least(self) -> float:
        """The factor less what is not known of it: noise makes no student the best."""
        return self.factor / (1 + self.uncertain)

    @property
    def accuracy(self) -> float:
        assert self.row.point.test_accuracy is not None
        return self.row.point.test_accuracy


def summary_sentence(report: Report) -> str:
    """What the best offered student gains, by measured latency, within 1 point of the teacher's test accuracy.

    Where no student is within 1 point, the sentence says so and describes the most accurate one.
    """
    teacher = teacher_row(report)
    if teacher is None or teacher.point.test_accuracy is None:
        return "The teacher has no test accuracy yet, so no student can be compared with it."
    candidates = _candidates(report)
    if not candidates:
        return "No offered student has been trained to the end and tested yet, so there is no gain to report."
    floor = teacher.point.test_accuracy - TOLERANCE - ROUNDING
    close = [candidate for candidate in candidates if candidate.accuracy >= floor]
    if close:
        best = max(close, key=lambda candidate: (candidate.least, candidate.accuracy))
        return f"Student {best.row.name} ({best.row.stage}) {_gain(report, teacher, best)}.{_doubt(report, best)}"
    best = max(candidates, key=lambda candidate: (candidate.accuracy, candidate.least))
    return (
        "No offered student is within 1 point of the teacher's test accuracy: the closest, "
        f"{best.row.name} ({best.row.stage}), {_gain(report, teacher, best)}.{_doubt(report, best)}"
    )


def _candidates(report: Report) -> list[Candidate]:
    found = []
    for row in student_rows(report):
        if not (row.offered and row.deployed) or row.point.test_accuracy is None:
            continue
        timed = [
            Candidate(row, name, factor, speed_up_uncertainty(report, row, name))
            for name in profile_names(report)
            if (factor := speed_up(report, row, name))
        ]
        found.append(max(timed, key=lambda one: one.least, default=Candidate(row, "", 0.0)))  # the first of equal ones
    return found


def _doubt(report: Report, best: Candidate) -> str:
    """A second sentence where the latencies of the first are not to be relied on."""
    own, other = best.row.latency(best.profile), teacher_latency(report, best.row, best.profile)
    found = doubts_of_both(own, other)
    if not found or own is None or other is None:
        return ""
    medians = ""
    if own.p50 and other.p50:
        medians = f"; by their medians it is {significant(other.p50 / own.p50, 2)} times as fast"
    return f" This speed-up is in doubt ({'; '.join(found)}){medians}: measure again on a quiet machine."


def _gain(report: Report, teacher: Row, best: Candidate) -> str:
    return (
        f"{_speed(report, best)}{_macs(teacher, best.row)}, with a test accuracy of {_accuracy(best.row)} "
        f"against the teacher's {_accuracy(teacher)}"
    )


def _speed(report: Report, best: Candidate) -> str:
    compared = comparable_teacher(report, best.row, best.profile)
    mean = best.row.mean(best.profile)
    if compared is None or mean is None:
        return "has no latency that was measured beside the teacher's"
    teacher_profile, teacher_ms = compared
    own, other = best.row.latency(best.profile), teacher_latency(report, best.row, best.profile)
    unit, about = latency_unit([mean, teacher_ms]), "roughly " if doubts(own) or doubts(other) else ""
    elsewhere = "" if teacher_profile == best.profile else f", the teacher under {teacher_profile}"
    slower = ", so it is slower" if best.factor < 1 else ""
    return (
        f"is {about}{known(best.factor, best.uncertain)} times as fast as the teacher{slower} (measured mean over the "
        f"stream of validation images: {unit.show_with_symbol(mean, uncertainty(own))} instead of "
        f"{unit.show_with_symbol(teacher_ms, uncertainty(other))}; "
        f"profile {best.profile}{elsewhere})"
    )


def _macs(teacher: Row, row: Row) -> str:
    own, other = row.point.macs, teacher.point.macs
    if not own or not other:
        return ""
    factor = f"{significant(other / own)}x fewer" if own <= other else f"{significant(own / other)}x more"
    return f" and needs {factor} MACs"


def _accuracy(row: Row) -> str:
    text = f"{percent(row.point.test_accuracy)}%"
    interval = row.point.test_accuracy_ci95
    return f"{text} (95% CI {percent(interval[0])}-{percent(interval[1])})" if interval else text
