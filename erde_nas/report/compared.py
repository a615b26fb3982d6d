"""Several runs -> what each offers under each profile, what in their recipes differs, and one picture of all fronts."""

import io
import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from erde_nas.report.devices import best_row
from erde_nas.report.points import MACS, Row, front_rows, offered_rows, profile_names, show_speed_up, teacher_row
from erde_nas.report.series import axis_title, coordinates, interval, panel_title
from erde_nas.report.tables import Table
from erde_nas.report.units import MISSING, accuracy_with_ci, latency_unit, one_line, percent, significant
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, uncertainty

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#000000")  # Okabe and Ito
MARKERS = "osD^vPX*"
LONGEST = 60  # characters of a recipe's value
Reports = Mapping[str, Report]  # by a name for each run


def runs_table(reports: Reports) -> Table:
    """A line per profile and run: the student to ship, and how good the whole front is."""
    cells = []
    for profile in dict.fromkeys(name for report in reports.values() for name in profile_names(report)):
        for name, report in reports.items():
            if profile in profile_names(report):
                cells.append((one_line(profile), one_line(name), *_best(report, profile)))
    headers = ("profile", "run", "student to ship", "test % (95% CI)", "mean", "speed-up", "teacher test %", "on front",
               "hypervolume")  # fmt: skip
    right = (False, False, False, *(True,) * 6)
    note = (
        "The student to ship is the fastest within 1 point of its own run's teacher, or the most accurate; speed-up "
        "and hypervolume are over that teacher. Runs were not measured side by side."
    )
    return Table("Runs", headers, tuple(cells), right, (note,) if cells else ())


def _best(report: Report, profile: str) -> tuple[str, ...]:
    row, teacher = best_row(report, profile), teacher_row(report)
    volume = report.hypervolume.get(profile)
    whole = (
        percent(teacher.point.test_accuracy if teacher else None),
        str(len(front_rows(report, profile) or offered_rows(report, profile))),
        MISSING if volume is None else significant(volume),
    )
    if row is None:
        return (MISSING, MISSING, MISSING, MISSING, *whole)
    mean, latency = row.mean(profile) or 0.0, row.latency(profile)
    shown = latency_unit([mean]).show_with_symbol(mean, uncertainty(latency)) + ("!" if doubts(latency) else "")
    return f"{row.name} ({row.stage})", accuracy_with_ci(row.point), shown, show_speed_up(report, row, profile), *whole


def differences_table(settings: Mapping[str, Mapping[str, Any]]) -> Table:
    """The keys of recipes and profiles that are not alike in all runs, and their values. `settings` are nested values
    by run."""
    flat = {name: dict(_flat(values)) for name, values in settings.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    cells = []
    for key in keys:
        texts = [_shown(values[key]) if key in values else MISSING for values in flat.values()]
        if len(set(texts)) > 1:
            cells.append((key, *(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for text in texts)))
    names = map(one_line, settings)
    note = f"{MISSING} stands for the default." if any(MISSING in line for line in cells) else ""
    right = (False,) * (1 + len(settings))
    return Table("What differs", ("key", *names), tuple(cells), right, (note,) if note else ())


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


def _shown(value: Any) -> str:
    return one_line(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def fronts_png(reports: Reports) -> bytes:
    """Every run's front, its accuracy on test, against the cost under each profile and against MACs."""
    names = dict.fromkeys(name for report in reports.values() for name in profile_names(report))
    costs = [name for name in [*names, MACS] if any(_front(report, name) for report in reports.values())] or [MACS]
    columns = min(len(costs), 2)
    lines = math.ceil(len(costs) / columns)
    figure = Figure(figsize=(7 * columns, 4.8 * lines + 0.5), dpi=100, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, cost in zip(axes, costs, strict=False):
        _panel(axis, reports, cost)
    for axis in axes[len(costs) :]:
        axis.set_axis_off()
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _panel(axis: Axes, reports: Reports, cost: str) -> None:
    axis.set_title(panel_title(cost), parse_math=False)
    axis.set_xscale("log")
    axis.grid(True, color="#dddddd")
    axis.set_axisbelow(True)
    axis.set_ylabel("test accuracy (%)")
    for number, (name, report) in enumerate(reports.items()):
        rows, colour = _front(report, cost), COLOURS[number % len(COLOURS)]
        axis.set_xlabel(axis_title(report, cost))
        if rows:
            bars = list(zip(*map(interval, rows), strict=True))
            label = one_line(name).replace("$", r"\$")
            marker = MARKERS[number % len(MARKERS)]
            axis.errorbar(*coordinates(rows, cost), yerr=bars, marker=marker, color=colour, label=label, elinewidth=1)
        teacher = teacher_row(report)
        if teacher and teacher.cost(cost) is not None:
            axis.plot(*coordinates([teacher], cost), marker="*", markersize=12, color=colour, linestyle="none")


def _front(report: Report, cost: str) -> list[Row]:
    return [row for row in front_rows(report, cost) if row.cost(cost)]
