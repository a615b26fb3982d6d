"""One sentence: what the best student gains over the teacher."""

from dataclasses import dataclass
from math import inf

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

    Where no student is within 1 point, the sentence says so and describes the most accurate one. No gain over a teacher
    is claimed that failed its check. A student more accurate than the teacher, beyond its interval, is named.
    """
    teacher = teacher_row(report)
    if teacher is None or teacher.point.test_accuracy is None:
        return "The teacher has no test accuracy yet, so no student can be compared with it."
    candidates = _candidates(report)
    if not candidates:
        return "No offered student has been trained to the end and tested yet, so there is no gain to report."
    if unfit := _unfit(report, candidates):
        return unfit
    best, close = _best(teacher, candidates)
    if close:
        return (
            f"Student {best.row.name} ({best.row.stage}) {_gain(report, teacher, best)}. {_leaving(best.row)}"
            f"{_doubt(report, best)}{_outdone(teacher, candidates)}"
        )
    return (
        "No offered student is within 1 point of the teacher's test accuracy: the closest, "
        f"{best.row.name} ({best.row.stage}), {_gain(report, teacher, best)}. {_leaving(best.row)}"
        f"{_doubt(report, best)}"
    )


def chosen(report: Report) -> Candidate | None:
    """The student that the summary speaks of; None where it speaks of none."""
    teacher, candidates = teacher_row(report), _candidates(report)
    if teacher is None or teacher.point.test_accuracy is None or not candidates:
        return None
    if report.teacher_check is not None and not report.teacher_check.trusted:
        row = _cheapest_accurate(report, candidates)
        return next(candidate for candidate in candidates if candidate.row == row)
    return _best(teacher, candidates)[0]


def _best(teacher: Row, candidates: list[Candidate]) -> tuple[Candidate, bool]:
    """The fastest candidate within 1 point of the teacher's test accuracy, or the most accurate one; whether it is so
    close."""
    floor = (teacher.point.test_accuracy or 0.0) - TOLERANCE - ROUNDING
    close = [candidate for candidate in candidates if candidate.accuracy >= floor]
    if close:
        return max(close, key=lambda candidate: (candidate.least, candidate.accuracy)), True
    return max(candidates, key=lambda candidate: (candidate.accuracy, candidate.least)), False


def _cheapest_accurate(report: Report, candidates: list[Candidate]) -> Row:
    """The cheapest of the candidates within 1 point of the most accurate one."""
    accurate = max(candidates, key=lambda candidate: candidate.accuracy)
    close = [one.row for one in candidates if one.accuracy >= accurate.accuracy - TOLERANCE - ROUNDING]
    return min(close, key=lambda row: next((cost for name in profile_names(report) if (cost := row.cost(name))), inf))


def _unfit(report: Report, candidates: list[Candidate]) -> str:
    """The summary where the teacher is no measure: the cheapest student within 1 point of the most accurate one,
    without a comparison. Empty where it is one."""
    check = report.teacher_check
    if check is None or check.trusted:
        return ""
    other = "" if check.student is None else f", a student that learnt without it on {percent(check.student)}%"
    row = _cheapest_accurate(report, candidates)
    timed = [(name, latency) for name in profile_names(report) if (latency := row.latency(name)) and latency.mean]
    takes = ""
    if timed:
        name, latency = timed[0]
        ms, mark = latency.mean or 0.0, "!" if doubts(latency) else ""
        shown = latency_unit([ms]).show_with_symbol(ms, uncertainty(latency))
        takes = f" and takes {shown}{mark} (measured mean; profile {name})"
    return (
        f"Student {row.name} ({row.stage}) has a test accuracy of {_accuracy(row)}{takes}. {_leaving(row)} "
        f"The teacher failed its check (right on {percent(check.teacher)}% of the validation images{other}), so no "
        "gain over it is claimed."
    )


def _outdone(teacher: Row, candidates: list[Candidate]) -> str:
    """A sentence where a student is more accurate than the teacher, beyond its interval; a cascade that ends in the
    teacher is none."""
    own = [one for one in candidates if teacher.point.student not in one.row.point.cascade] or candidates
    accurate = max(own, key=lambda candidate: candidate.accuracy)
    interval = accurate.row.point.test_accuracy_ci95
    if interval is None or (teacher.point.test_accuracy or 0.0) >= interval[0]:
        return ""
    more = f"{accurate.row.name} is more accurate than the teacher ({_accuracy(accurate.row)})"
    return f" {more}: a better one may teach more."


def _leaving(row: Row) -> str:
    """The share of images that leaves before the last exit, and where."""
    *early, last = row.point.exit_fractions or (1.0,)
    if not early:
        return "It has one exit, at which every image leaves."
    blocks = row.exit_blocks or tuple(range(len(early) + 1))
    places = [f"{percent(share)}% on block {block}" for share, block in zip(early, blocks, strict=False) if share]
    where = f" ({', '.join(places)})" if places else ""
    return f"{percent(1 - last)}% of the validation images leave early{where}."


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
