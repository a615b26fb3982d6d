"""front.png: accuracy against MACs and against the latency of every profile."""

import io
import math
import textwrap

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from erde_nas.report.points import MACS, Row, baseline_rows, by_cost, teacher_row
from erde_nas.report.series import (
    ESTIMATED_FRONT_NAME,
    FRONT_COLOUR,
    FRONT_NAME,
    STYLES,
    Series,
    accuracy_range,
    axis_title,
    below,
    coordinates,
    costs,
    front,
    height,
    interval,
    panel_title,
    series,
)
from erde_nas.report.units import Unit, macs_unit
from erde_nas.report_data.report import Report

DPI = 100
WIDTH, PANEL_HEIGHT = 14.0, 5.2  # inches: 1,400 pixels wide
LABEL_LENGTH = 60  # characters of a baseline's name


def front_png(report: Report) -> bytes:
    """The figure as PNG. Uses no global state of matplotlib, so that it works in any thread and without a display."""
    panels = costs(report)
    columns = min(len(panels), 2 if len(panels) in (2, 4) else 3)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * lines + 0.6), dpi=DPI, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    legend: dict[str, Artist] = {}
    for axis, cost in zip(axes, panels, strict=False):
        _panel(axis, report, cost)
        handles, names = axis.get_legend_handles_labels()
        legend |= dict(zip(names, handles, strict=True))
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    if legend:
        figure.legend(
            list(legend.values()),
            list(legend),
            title=_footnote(report),
            title_fontproperties={"size": 10},
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=11,
        )
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _panel(axis: Axes, report: Report, cost: str) -> None:
    axis.set_title(panel_title(cost), fontsize=13, parse_math=False)
    axis.set_xlabel(axis_title(report, cost), fontsize=11)
    axis.set_ylabel("test accuracy (%)", fontsize=11)
    axis.grid(True, which="major", color="#dddddd", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_ylim(*accuracy_range(report))
    groups = series(report, cost)
    if not groups:
        axis.text(0.5, 0.5, "no point yet", transform=axis.transAxes, ha="center", color="#666666")
        return
    axis.set_xscale("log")
    teacher = teacher_row(report)
    if teacher:
        axis.axhline(height(teacher), color=STYLES["teacher"].colour, linewidth=1, linestyle=":", zorder=1)
    for group in groups:
        _draw(axis, group, cost)
    line = front(report, cost)
    if line:
        name = ESTIMATED_FRONT_NAME if report.estimated_fronts else FRONT_NAME
        axis.plot(*coordinates(line, cost), color=FRONT_COLOUR, linewidth=2, zorder=2, label=name)
    _cost_ticks(axis, cost)
    named = [row for group in groups if group.look in ("teacher", "baseline") for row in group.rows]
    _name(axis, by_cost(named, cost), cost)
    hidden = below(report, cost)
    if hidden:
        note = f"{hidden} point{'s' if hidden > 1 else ''} below the axis"
        axis.text(0.01, 0.01, note, transform=axis.transAxes, fontsize=9, color="#666666")


def _draw(axis: Axes, group: Series, cost: str) -> None:
    """Markers with error bars; hollow where the height is a validation accuracy though the student is deployed."""
    style = STYLES[group.look]
    hollow = not group.tested and group.look != "searched"
    axis.errorbar(
        *coordinates(group.rows, cost),
        yerr=list(zip(*(interval(row) for row in group.rows), strict=True)) if group.tested else None,
        linestyle="none",
        marker=style.marker,
        markersize=style.size,
        color=style.colour,
        markerfacecolor="white" if hollow else style.colour,
        markeredgecolor=style.colour if hollow or style.marker == "x" else "white",
        markeredgewidth=1.5 if hollow or style.marker == "x" else 0.7,
        elinewidth=1,
        alpha=style.opacity,
        label=group.name,
        zorder=1 if group.look == "searched" else 3,
    )


def _name(axis: Axes, rows: list[Row], cost: str) -> None:
    """Names the teacher above its mark and numbers the baselines below theirs, as the figure's footnote lists them."""
    for row, *anchor in zip(rows, *coordinates(rows, cost), strict=True):
        place = axis.transAxes.inverted().transform(axis.transData.transform(anchor))[0]
        name = row.name if row.kind == "teacher" else str(row.index + 1)
        axis.annotate(
            name,
            (anchor[0], anchor[1]),
            xytext=(0, 9 if row.kind == "teacher" else -11),
            textcoords="offset points",
            ha="left" if place < 0.15 else "right" if place > 0.85 else "center",
            va="bottom" if row.kind == "teacher" else "top",
            fontsize=10,
            color="#333333",
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=2.5,
        )


def _footnote(report: Report) -> str:
    """What the numbers at the baselines mean."""
    names = [
        f"{row.index + 1} {textwrap.shorten(row.name, LABEL_LENGTH, placeholder='…')}" for row in baseline_rows(report)
    ]
    return textwrap.fill("Baselines: " + ";  ".join(names), 180).replace("$", r"\$") if names else ""


def _cost_ticks(axis: Axes, cost: str) -> None:
    """Plain numbers (0.2, 5 M) instead of powers of ten."""
    low, high = axis.get_xlim()
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 10 else (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=steps))
    axis.xaxis.set_minor_formatter(NullFormatter())

    def text(value: float, _: int) -> str:
        unit = macs_unit([value]) if cost == MACS else Unit("", 1.0)
        return f"{value * unit.factor:g} {unit.symbol}".rstrip()

    axis.xaxis.set_major_formatter(FuncFormatter(text))
