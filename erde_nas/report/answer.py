"""What to ship: the student that the summary speaks of, what it gains and loses with intervals, and how to get it."""

import shlex
from dataclasses import dataclass
from math import hypot
from pathlib import Path

from erde_nas.report.points import Row, speed_up_uncertainty, teacher_latency, teacher_row
from erde_nas.report.summary import Candidate, chosen, summary_sentence
from erde_nas.report.units import percent
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts_of_both, known

SAME = 0.05  # points of accuracy: less is not shown


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy_change(student: Point, teacher: Point) -> Interval | None:
    """The student's test accuracy minus the teacher's, in points; None where one of them was not tested.

    Newcombe's interval (1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10) from
    both Wilson intervals. It takes the two for independent; they answered the same images, so it is rather too wide.
    """
    own, other = student.test_accuracy_ci95, teacher.test_accuracy_ci95
    if student.test_accuracy is None or teacher.test_accuracy is None or not own or not other:
        return None
    a, b = student.test_accuracy, teacher.test_accuracy
    low, high = hypot(a - own[0], other[1] - b), hypot(own[1] - a, b - other[0])
    return Interval(100 * (a - b), 100 * (a - b - low), 100 * (a - b + high))


def speed_up_interval(report: Report, best: Candidate) -> Interval | None:
    """How many times as fast as the teacher; None where that was not measured."""
    off = speed_up_uncertainty(report, best.row, best.profile)
    return Interval(best.factor, best.factor / (1 + off), best.factor * (1 + off)) if best.factor else None


def answer_text(report: Report, folder: Path | str) -> str:
    """The summary, the gain and the loss with their intervals, whether they were measured well, and what to do next."""
    found = chosen(report)
    if found is None:
        return summary_sentence(report)
    return "\n".join([summary_sentence(report), figures_text(report, found), export_command(found.row, folder)])


def figures_text(report: Report, best: Candidate) -> str:
    """Gain and loss with intervals, in a sentence or two; empty where nothing can be compared."""
    teacher, gain = teacher_row(report), speed_up_interval(report, best)
    if teacher is None or not trusted(report):
        return ""
    parts = []
    if gain is not None:
        off = speed_up_uncertainty(report, best.row, best.profile)
        low, high = known(gain.low, off), known(gain.high, off)
        parts.append(f"{known(gain.value, off)} times as fast (95% interval {low} to {high})")
    change = accuracy_change(best.row.point, teacher.point)
    if change is not None:
        parts.append(change_text(change))
    return f"Gain and loss: {'; '.join(parts)}. {_how_measured(report, best)}".strip() if parts else ""


def change_text(change: Interval) -> str:
    """ "0.4 points below the teacher on test (95% interval -2.5 to +1.7, so it may be chance)"."""
    ends = f"95% interval {change.low:+.1f} to {change.high:+.1f}"
    if abs(change.value) < SAME:
        return f"as accurate as the teacher on test ({ends})"
    where = "above" if change.value > 0 else "below"
    chance = ", so it may be chance" if change.low <= 0 <= change.high else ""
    return f"{abs(change.value):.1f} points {where} the teacher on test ({ends}{chance})"


def _how_measured(report: Report, best: Candidate) -> str:
    own, other = best.row.latency(best.profile), teacher_latency(report, best.row, best.profile)
    if own is None or other is None:
        return ""
    found = doubts_of_both(own, other)
    return f"They are in doubt: {'; '.join(found)}." if found else "Neither latency is noisy."


def trusted(report: Report) -> bool:
    """Whether the teacher is a measure: it did not fail its check."""
    return report.teacher_check is None or report.teacher_check.trusted


def export_command(row: Row, folder: Path | str) -> str:
    """The command that writes the folder to ship."""
    return f"erde-nas export {shlex.quote(str(folder))} --student {shlex.quote(row.point.student)} --to shipped"


def leaving_early(point: Point) -> str:
    """The share of the validation images that leaves before the last exit: "97%"."""
    return "-" if len(point.exit_fractions) < 2 else f"{percent(1 - point.exit_fractions[-1], 0)}%"
