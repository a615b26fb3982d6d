"""What the page's charts draw, as JSON-ready values: accuracy against each cost, and how the search went on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from erde_nas.pareto import hypervolume
from erde_nas.report.architecture import shape_text
from erde_nas.report.columns import QUANTILES
from erde_nas.report.points import MACS, Row, front_rows, objectives_of, show_speed_up, teacher_row
from erde_nas.report.series import accuracy_range, all_rows, axis_title, costs, look, panel_title
from erde_nas.report.tables import setting
from erde_nas.report.units import MISSING, latency_unit, macs_unit, one_line, percent, size_unit
from erde_nas.report_data.report import Report, SearchedTrial
from erde_nas.report_data.uncertainty import doubts, uncertainty

Json = dict[str, Any]


def chart_data(report: Report) -> Json:
    """The points with their costs and texts, the fronts as indices into them, and arrows between what was made of what.

    Accuracies are in percent, costs in MACs or in what `axis_title` says.
    """
    rows, priced = all_rows(report), costs(report)
    number = {id(row.point): place for place, row in enumerate(rows)}
    shapes = {trial.student: trial.shape for trial in report.searched}
    fronts = {cost: [number[id(row.point)] for row in front_rows(report, cost)] for cost in priced}
    teacher = teacher_row(report)
    return {
        "costs": [
            {
                "key": cost,
                "title": panel_title(cost),
                "under": "" if cost == MACS else setting(report, cost),
                "axis": axis_title(report, cost),
            }
            for cost in [*priced[1:], MACS]
        ],
        "range": _range(report, rows),
        "points": [_point(report, row, priced, shapes) for row in rows],
        "fronts": fronts,
        "arrows": _arrows(report, rows),
        "teacher": number[id(teacher.point)] if teacher else None,
    }


def _range(report: Report, rows: Sequence[Row]) -> tuple[float, float]:
    """Limits of the accuracy axes, so that test and validation can be compared."""
    low, high = accuracy_range(report)
    known = [100 * row.point.val_accuracy for row in rows if look(row) != "searched"]
    return (max(0.0, min([low, *(value - 0.5 for value in known)])), min(100.4, max([high, *known])))


def _point(report: Report, row: Row, priced: Sequence[str], shapes: dict[str, str]) -> Json:
    point = row.point
    texts = {cost: _cost_lines(report, row, cost) for cost in priced if row.cost(cost) is not None}
    interval = point.test_accuracy_ci95
    found: Json = {
        "name": row.name,
        "stage": row.stage if row.kind == "student" else "",
        "student": point.student,
        "look": look(row),
        "val": _short(100 * point.val_accuracy),
        "test": None if point.test_accuracy is None else _short(100 * point.test_accuracy),
        "ci": None if interval is None else [_short(100 * end) for end in interval],
        "x": {cost: float(f"{row.cost(cost):.6g}") for cost in texts},
        "noise": {cost: ends for cost in texts if (ends := _cost_interval(report, row, cost))},
        "doubt": [cost for cost in texts if doubts(row.latency(cost))],
        "lines": _lines(row, shapes.get(point.student, "")),
        "cost": texts,
    }
    return {key: value for key, value in found.items() if value not in (None, "", {}, [])}


def _short(value: float) -> float:
    return round(value, 4)


def _cost_interval(report: Report, row: Row, cost: str) -> list[float] | None:
    """The 95 % interval of a mean; other objectives have none."""
    latency = row.latency(cost)
    if latency is None or latency.interval is None or objectives_of(report).get(cost, "mean") != "mean":
        return None
    return [float(f"{end:.6g}") for end in latency.interval]


def _lines(row: Row, shape: str) -> list[str]:
    """What is known of a point whatever its cost, a line each."""
    point = row.point
    facts = [
        shape_text(point.arch) or shape,
        f"leave at each exit {' / '.join(percent(share, 0) for share in point.exit_fractions)} %"
        if len(point.exit_fractions) > 1
        else "",
        f"file {size_unit([point.size_bytes]).show_with_symbol(point.size_bytes)}" if point.size_bytes else "",
        f"not offered: {one_line(point.reason or 'no reason recorded')}" if row.deployed and not row.offered else "",
    ]
    return [fact for fact in facts if fact]


def _cost_lines(report: Report, row: Row, cost: str) -> list[str]:
    """What a point costs in words."""
    if cost == MACS:
        return [f"mean MACs {macs_unit([row.point.macs or 0.0]).show_with_symbol(row.point.macs or 0.0)}"]
    latency = row.latency(cost)
    if latency is None:
        return []
    if latency.mean is None:
        expected = latency.expected_mean
        return [f"expected latency {latency_unit([expected]).show_with_symbol(expected)} (estimated)"]
    unit, off = latency_unit([latency.mean]), uncertainty(latency)
    quantiles = ", ".join(f"{key} {unit.show(value, off)}" for key, of in QUANTILES.items() if (value := of(latency)))
    factor = show_speed_up(report, row, cost)
    lines = [f"mean {unit.show_with_symbol(latency.mean, off)} ({quantiles})".replace(" ()", "")]
    if factor != MISSING and row.kind != "teacher":
        lines.append(f"{factor.replace('x', '×')} as fast as the teacher")
    return lines + [f"in doubt: {reason}" for reason in doubts(latency)]


def _arrows(report: Report, rows: Sequence[Row]) -> list[tuple[int, int]]:
    """From each student's most accurate point to that of what was made of it: pruned, then in int8."""
    best: dict[tuple[str, str], int] = {}
    for place, row in enumerate(rows):
        if row.deployed:
            key = (row.point.student, row.stage)
            if key not in best or row.point.val_accuracy > rows[best[key]].point.val_accuracy:
                best[key] = place
    parents = {name: student.parent for name, student in report.students.items() if student.parent}
    found = []
    for (student, stage), place in best.items():
        if stage == "quantized":
            source = next((key for key in ((student, "pruned"), (student, "finished")) if key in best), None)
        else:
            parent = parents.get(student, student if stage == "pruned" else "")
            source = next((key for key in ((parent, "finished"), (parent, "pruned")) if key in best), None)
        if source is not None and source != (student, stage):
            found.append((best[source], place))
    return found


def progress(report: Report) -> Json | None:
    """The hypervolume that the candidates so far dominate, after each of them; None where there is nothing to compare.

    In validation error and the cost of the first profile, or MACs where latency was not estimated, up to (1, 1): costs
    are shares of the teacher's, or of the dearest candidate's before that is measured. Each candidate counts at the
    operating point that the search chose for it.
    """
    teacher = teacher_row(report)
    for cost in [*report.profiles, MACS]:
        whole = teacher.cost(cost) if teacher else None
        known = [_searched_cost(trial, cost) for trial in report.searched]
        whole = whole or max((value for value in known if value is not None), default=None)
        if whole:
            break
    else:
        return None
    values, points = [], np.empty((0, 2))
    for trial, value in zip(report.searched, known, strict=True):
        if value is not None and trial.val_accuracy is not None:
            points = np.vstack([points, [1 - trial.val_accuracy, value / whole]])
        values.append(round(hypervolume(points, np.ones(2)) if len(points) else 0.0, 5))
    failed = [place for place, trial in enumerate(report.searched) if trial.state == "failed"]
    of = "teacher's" if teacher else "dearest candidate's"
    return {"cost": panel_title(cost), "of": of, "values": values, "failed": failed}


def _searched_cost(trial: SearchedTrial, cost: str) -> float | None:
    return trial.macs if cost == MACS else (trial.latency_ms or {}).get(cost)
