"""Whether exits pay: the cost of the best point with exits over that of the best one without, at equal accuracy.

Students that share features between their exits, and cascades of two networks, which cost no training: what the former
have to beat.
"""

from collections.abc import Callable
from dataclasses import dataclass

from erde_nas.report.points import MACS, Row, baseline_rows, by_cost, profile_names, student_rows
from erde_nas.report.tables import Table
from erde_nas.report.units import latency_unit, macs_unit, percent
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import significant

EQUAL = 0.002  # of accuracy on validation: so much less counts as equal
USED = 0.01  # of the images at the least, for an exit to be in use
KINDS: dict[str, Callable[[Row], bool]] = {
    "exits of one network": lambda row: not row.point.cascade,
    "cascade of two": lambda row: bool(row.point.cascade),
}


@dataclass(frozen=True)
class ExitFactor:
    """The point with exits that gains most, and the cheapest one without that is as accurate."""

    kind: str
    row: Row
    without: Row
    factor: float


def exit_factors(report: Report, cost: str) -> list[ExitFactor]:
    """Of each kind the least factor in the upper third of the accuracies of all measured points that none dominates.

    All measured students count, offered or not; accuracies are those on validation. Empty where a side has no point.
    """
    rows = by_cost([row for row in student_rows(report) + baseline_rows(report) if _counts(row, cost)], cost)
    front: list[Row] = []
    for row in rows:
        if not front or row.point.val_accuracy > front[-1].point.val_accuracy:
            front.append(row)
    if not front:
        return []
    low, high = front[0].point.val_accuracy, front[-1].point.val_accuracy
    static = [row for row in rows if not _early(row)]
    found = []
    for kind, belongs in KINDS.items():
        factors = []
        for row in rows:
            accuracy, value = row.point.val_accuracy, row.cost(cost)
            equal = next((other for other in static if other.point.val_accuracy >= accuracy - EQUAL - 1e-9), None)
            if _early(row) and belongs(row) and equal is not None and accuracy >= high - (high - low) / 3 - 1e-9:
                factors.append(ExitFactor(kind, row, equal, (value or 0.0) / (equal.cost(cost) or 1.0)))
        found += [min(factors, key=lambda one: one.factor)] if factors else []
    return found


def _counts(row: Row, cost: str) -> bool:
    """A student that was measured; MACs say nothing of int8."""
    own = row.kind == "student" or row.point.role == "student_without_exits"
    if cost == MACS:
        return own and row.stage not in ("searched", "quantized") and row.point.macs is not None
    return own and row.mean(cost) is not None


def _early(row: Row) -> bool:
    return sum(share >= USED for share in row.point.exit_fractions) > 1


def exit_factor_table(report: Report) -> Table:
    """A line per cost and kind."""
    cells = []
    for cost in [*profile_names(report), MACS]:
        for found in exit_factors(report, cost):
            values = [row.cost(cost) or 0.0 for row in (found.row, found.without)]
            unit = macs_unit(values) if cost == MACS else latency_unit(values)
            texts = [
                f"{row.name} ({percent(row.point.val_accuracy)}%, {unit.show_with_symbol(value)})"
                for row, value in zip((found.row, found.without), values, strict=True)
            ]
            cells.append(("MACs" if cost == MACS else cost, found.kind, *texts, significant(found.factor, 2)))
    return Table(
        "Do exits pay?",
        ("cost", "kind", "with exits", "without", "factor"),
        tuple(cells),
        (False, False, False, False, True),
        ("The cost of a point with exits over that of the cheapest without that is as accurate on validation (within "
         "0.2 points), where it is least in the upper third of the accuracies. Below 1, exits pay.",) if cells else (),
    )  # fmt: skip
