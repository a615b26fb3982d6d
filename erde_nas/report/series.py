"""What both plots draw: the report's points grouped by look, accuracy in percent against a cost.

Colours are Okabe and Ito's palette, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from erde_nas.report.points import (
    MACS,
    Row,
    by_cost,
    comparison_rows,
    front_rows,
    objectives_of,
    profile_names,
    student_rows,
)
from erde_nas.report.units import one_line
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.objectives import TEXTS
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import Report, SearchedTrial


@dataclass(frozen=True)
class Style:
    """One look, in the marker names of matplotlib and of plotly and as a character; `size` is a diameter in points."""

    colour: str
    marker: str
    symbol: str
    character: str
    size: float
    opacity: float = 1.0


STYLES = {
    "searched": Style("#8c8c8c", "o", "circle", "•", 5, 0.55),
    "not offered": Style("#8c8c8c", "x", "x-thin", "✕", 7, 0.9),
    "finished": Style("#0072b2", "o", "circle", "●", 9),
    "pruned": Style("#e69f00", "s", "square", "■", 8.5),
    "quantized": Style("#009e73", "D", "diamond", "◆", 8.5),
    "cascade": Style("#f0e442", "P", "cross", "✚", 9.5),
    "baseline": Style("#cc79a7", "^", "triangle-up", "▲", 10),
    "teacher": Style("#d55e00", "*", "star", "★", 14),
}
FRONT_COLOUR = "#56b4e9"
FRONT_NAME = "offered front (chosen on validation)"
ESTIMATED_FRONT_NAME = "best by estimates (nothing is measured yet)"


@dataclass(frozen=True)
class Series:
    """Points of one look. `tested`: the height is the test accuracy, else the validation accuracy."""

    look: str
    tested: bool
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The legend's text."""
        if self.look == "searched":
            return "searched (validation accuracy, latency estimated)"
        return self.look if self.tested else f"{self.look} (validation accuracy)"


def costs(report: Report) -> list[str]:
    """The panels: MACs, and every profile under which some point has a latency."""
    rows = student_rows(report) + comparison_rows(report)
    return [MACS] + [name for name in profile_names(report) if by_cost(rows, name)]


def axis_title(report: Report, cost: str) -> str:
    """The name and the unit of a cost."""
    if cost == MACS:
        return "mean MACs per image"
    objective = objectives_of(report).get(cost, "mean")
    return f"{TEXTS[objective]} per image ({'mJ' if objective == 'energy' else 'ms'})"


def panel_title(cost: str) -> str:
    """The heading of a panel."""
    return "MACs" if cost == MACS else one_line(cost)


def height(row: Row) -> float:
    """Test accuracy in percent; where there is none, validation accuracy."""
    tested = row.point.test_accuracy
    return 100 * (row.point.val_accuracy if tested is None else tested)


def coordinates(rows: Iterable[Row], cost: str) -> tuple[list[float], list[float]]:
    """The costs and the heights of the rows that have this cost."""
    pairs = [(value, height(row)) for row in rows if (value := row.cost(cost)) is not None]
    return [x for x, _ in pairs], [y for _, y in pairs]


def interval(row: Row) -> tuple[float, float]:
    """How far the 95 % interval of the test accuracy reaches below and above it, in percentage points."""
    bounds = row.point.test_accuracy_ci95
    if not bounds or row.point.test_accuracy is None:
        return 0.0, 0.0
    return max(0.0, height(row) - 100 * bounds[0]), max(0.0, 100 * bounds[1] - height(row))


def series(report: Report, cost: str) -> list[Series]:
    """The points that have this cost, grouped by look in the order of STYLES; within a group cheapest first."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for row in by_cost(all_rows(report), cost):
        groups.setdefault((look(row), row.point.test_accuracy is not None), []).append(row)
    order = list(STYLES)
    keys = sorted(groups, key=lambda key: (order.index(key[0]), not key[1]))
    return [Series(look, tested, tuple(groups[look, tested])) for look, tested in keys]


def front(report: Report, cost: str) -> list[Row]:
    """The rows that the front's line joins, cheapest first."""
    return front_rows(report, cost)


def accuracy_range(report: Report) -> tuple[float, float]:
    """Limits of every accuracy axis in percent: what is deployed fits, hopeless searched points may fall below.

    Of a run that was interrupted the candidates are what there is to see: all of them fit.
    """
    rows = all_rows(report)
    searched = sorted(height(row) for row in rows if look(row) == "searched")
    anchors = [
        (height(row) - interval(row)[0], height(row) + interval(row)[1]) for row in rows if look(row) != "searched"
    ]
    all_fit = report.interrupted or report.unfinished or not anchors
    anchors += [(value, value) for value in (searched if all_fit else searched[len(searched) // 2 :])]
    if not anchors:
        return 0.0, 100.0
    low, high = min(lower for lower, _ in anchors), max(upper for _, upper in anchors)
    span = max(high - low, 1.0)
    low = min([low, *(value for value in searched if value >= low - span)])
    margin = 0.06 * (high - low + 1)
    return max(0.0, low - margin), min(100.4, high + margin)


def below(report: Report, cost: str) -> int:
    """How many points of a panel lie below its accuracy axis."""
    low = accuracy_range(report)[0]
    return sum(height(row) < low for group in series(report, cost) for row in group.rows)


def all_rows(report: Report) -> list[Row]:
    """Everything that has an accuracy; the search's trials that are not among the points have their searched one."""
    known = {row.point.student for row in student_rows(report)}
    trials = [trial for trial in report.searched if trial.state != "failed" and trial.student not in known]
    points = [point for trial in trials if (point := _searched_point(trial)) is not None]
    searched = [Row("student", -1, point, objectives_of(report)) for point in points]
    return searched + student_rows(report) + comparison_rows(report)


def _searched_point(trial: SearchedTrial) -> Point | None:
    """A trial as a point of which the search's estimates alone are known; None without an accuracy."""
    if trial.val_accuracy is None:
        return None
    return Point(
        student=trial.student,
        stage="searched",
        arch=None,
        thresholds=(),
        exit_fractions=(),
        val_accuracy=trial.val_accuracy,
        test_accuracy=None,
        test_accuracy_ci95=None,
        macs=trial.macs,
        macs_per_exit=None,
        params=trial.params,
        size_bytes=None,
        latency_ms={name: _estimate(ms) for name, ms in (trial.latency_ms or {}).items()},
        file=None,
    )


def _estimate(ms: float) -> Latency:
    return Latency(
        mean=None,
        p50=None,
        p95=None,
        p99=None,
        expected_mean=ms,
        per_exit=(),
        source="estimated",
        runtime="",
        device="",
        threads=0,
        batch_size=0,
        precision="",
    )


def look(row: Row) -> str:
    """Which of STYLES a row has."""
    if row.kind != "student":
        return row.kind
    if row.point.cascade:
        return "cascade"
    if row.deployed and not row.offered:
        return "not offered"
    return row.stage if row.stage in STYLES else "finished"
