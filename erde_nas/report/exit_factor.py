"""Whether exits pay: the cost of the best point with exits over that of the best one without, at equal accuracy.

Students that share features between their exits, and cascades of two networks, which cost no training: what the former
have to beat.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from erde_nas.report.points import MACS, Row, baseline_rows, profile_names, student_rows
from erde_nas.report.tables import Table
from erde_nas.report.units import MISSING, latency_unit, macs_unit, one_line, percent
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import significant

EQUAL = 0.002  # of accuracy on validation: so much less counts as equal
USED = 0.01  # of the images at the least, for an exit to be in use


@dataclass(frozen=True)
class Priced:
    """A student's point: accuracy on validation, and what it costs; `estimated` where it was not measured in full."""

    name: str
    accuracy: float
    cost: float
    early: bool  # more than one exit is in use
    cascade: bool = False
    estimated: bool = False


KINDS: dict[str, Callable[[Priced], bool]] = {
    "exits of one network": lambda point: point.early and not point.cascade,
    "cascade of two": lambda point: point.early and point.cascade,
}


@dataclass(frozen=True)
class ExitFactor:
    """The point with exits that gains most, and the cheapest one without that is as accurate; None: none is."""

    kind: str
    point: Priced
    without: Priced | None

    @property
    def factor(self) -> float | None:
        """Below 1, exits pay."""
        return None if self.without is None else self.point.cost / self.without.cost


def exit_factors(report: Report, cost: str) -> list[ExitFactor]:
    """Of each kind the least factor in the upper third of the accuracies of all points that none dominates.

    All measured students count, offered or not, and those without exits that a brief measurement ruled out. Where none
    without exits is as accurate as any of a kind in that third, the cheapest of the kind.
    """
    points = sorted(_priced(report, cost), key=lambda point: (point.cost, -point.accuracy))
    front = [p for n, p in enumerate(points) if all(p.accuracy > before.accuracy for before in points[:n])]
    if not front:
        return []
    low, high = front[0].accuracy, front[-1].accuracy
    upper = [point for point in points if point.accuracy >= high - (high - low) / 3 - 1e-9]
    found = []
    for kind, belongs in KINDS.items():
        pairs = [ExitFactor(kind, own, _as_accurate(own, points)) for own in upper if belongs(own)]
        if pairs:
            found.append(min(pairs, key=lambda pair: (pair.factor is None, pair.factor or pair.point.cost)))
    return found


def _as_accurate(own: Priced, points: Sequence[Priced]) -> Priced | None:
    """The first, which is the cheapest, of the points without exits that are as accurate."""
    return next((p for p in points if not p.early and p.accuracy >= own.accuracy - EQUAL - 1e-9), None)


def _priced(report: Report, cost: str) -> list[Priced]:
    found = []
    for row in student_rows(report) + baseline_rows(report):
        value = row.cost(cost)
        if value and _counts(row, cost):
            early = _early(row.point.exit_fractions)
            found.append(Priced(row.name, row.point.val_accuracy, value, early, bool(row.point.cascade)))
    for screened in report.screened:
        known = screened.macs if cost == MACS else screened.estimated_ms.get(cost)
        if known and not _early(screened.exit_fractions) and not (cost == MACS and screened.stage == "quantized"):
            found.append(
                Priced(one_line(screened.student), screened.val_accuracy, known, False, estimated=cost != MACS)
            )
    return found


def _counts(row: Row, cost: str) -> bool:
    """A student that was measured; MACs say nothing of int8."""
    own = row.kind == "student" or row.point.role == "student_without_exits"
    if cost == MACS:
        return own and row.stage not in ("searched", "quantized")
    return own and row.mean(cost) is not None


def _early(fractions: Sequence[float]) -> bool:
    return sum(share >= USED for share in fractions) > 1


def exit_factor_table(report: Report) -> Table:
    """A line per cost and kind."""
    cells = []
    for cost in [*profile_names(report), MACS]:
        for found in exit_factors(report, cost):
            both = [found.point, *([found.without] if found.without else [])]
            unit = (macs_unit if cost == MACS else latency_unit)([point.cost for point in both])
            texts = [
                f"{point.name} ({percent(point.accuracy)}%, {'~' if point.estimated else ''}"
                f"{unit.show_with_symbol(point.cost)})"
                for point in both
            ]
            factor = MISSING if found.factor is None else significant(found.factor, 2)
            without = texts[1] if found.without else "none is as accurate"
            cells.append(("MACs" if cost == MACS else cost, found.kind, texts[0], without, factor))
    note = (
        "The cost of a point with exits over that of the cheapest without that is as accurate on validation (within "
        "0.2 points), where it is least in the upper third of the accuracies. Below 1, exits pay. ~ marks an estimate."
    )
    headers = ("cost", "kind", "with exits", "without", "factor")
    return Table("Do exits pay?", headers, tuple(cells), (False, False, False, False, True), (note,) if cells else ())
