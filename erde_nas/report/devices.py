"""What is best on which device: the best student of every hardware profile, and what it costs on the others."""

from erde_nas.report.points import Row, profile_names, show_speed_up, student_rows, teacher_row
from erde_nas.report.summary import ROUNDING, TOLERANCE
from erde_nas.report.tables import Table, setting
from erde_nas.report.units import MISSING, accuracy_with_ci, latency_unit, one_line
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, uncertainty

TITLE = "Devices compared"


def devices_table(report: Report) -> Table:
    """A line per profile: its best student, and there the students that are best elsewhere. Empty for one profile.

    Best is the fastest of the offered within 1 point of the teacher's test accuracy, or the most accurate one.
    """
    best = {name: row for name in profile_names(report) if (row := best_row(report, name)) is not None}
    if len(best) < 2:
        return Table(TITLE, (), ())
    others = {(row.name, row.stage, row.index): row for row in best.values()}
    columns = ("profile", "setting", "best student", "test accuracy % (95% CI)", "mean", "speed-up")
    headers = (*columns, *(f"{row.name} ({row.stage})" for row in others.values()))
    cells = []
    for profile, row in best.items():
        mean, entry = row.mean(profile) or 0.0, row.latency(profile)
        fixed = (
            one_line(profile),
            setting(report, profile),
            f"{row.name} ({row.stage})",
            accuracy_with_ci(row.point),
            latency_unit([mean]).show_with_symbol(mean, uncertainty(entry)) + ("!" if doubts(entry) else ""),
            show_speed_up(report, row, profile),
        )
        cells.append((*fixed, *(_relative(other, profile, mean) for other in others.values())))
    right = (False, False, False, True, True, True, *(True for _ in others))
    return Table(TITLE, headers, tuple(cells), right, (_verdict(best),))


def best_row(report: Report, profile: str) -> Row | None:
    """The student to ship under a profile, by its objective, if one was measured there."""
    teacher = teacher_row(report)
    rows = [
        (accuracy, cost, row)
        for row in student_rows(report)
        if row.offered
        and row.deployed
        and row.mean(profile) is not None
        and (cost := row.cost(profile)) is not None
        and (accuracy := row.point.test_accuracy) is not None
    ]
    if not rows or teacher is None or teacher.point.test_accuracy is None:
        return None
    floor = teacher.point.test_accuracy - TOLERANCE - ROUNDING
    close = [found for found in rows if found[0] >= floor]
    if close:
        return min(close, key=lambda found: (found[1], -found[0]))[2]
    return max(rows, key=lambda found: (found[0], -found[1]))[2]


def _relative(row: Row, profile: str, best_ms: float) -> str:
    """A student's mean under a profile, in units of the best one's there."""
    mean = row.mean(profile)
    return MISSING if mean is None else f"{mean / best_ms:.2f}x"


def _verdict(best: dict[str, Row]) -> str:
    names = {(row.name, row.stage) for row in best.values()}
    if len(names) == 1:
        return "The same student is best under every profile. The last columns are its mean in units of the best there."
    return (
        f"{len(names)} students are best under {len(best)} profiles. The last columns say how long each of them takes "
        "in units of the best one there: what shipping another device's student would cost."
    )
