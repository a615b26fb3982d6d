"""The page's interactive figures: accuracy against a cost, everything known about a point on hovering."""

import html

import plotly.graph_objects as go

from erde_nas.report.columns import QUANTILES, exits
from erde_nas.report.points import MACS, Row, show_speed_up, teacher_row
from erde_nas.report.series import (
    FRONT_COLOUR,
    STYLES,
    Series,
    accuracy_range,
    axis_title,
    coordinates,
    front,
    height,
    interval,
    series,
)
from erde_nas.report.units import MISSING, accuracy_with_ci, latency_unit, macs_unit, one_line, percent, size_unit
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, uncertainty

CONFIG = {"displayModeBar": False, "plotlyServerURL": ""}


def chart_html(report: Report, cost: str, element: str) -> str:
    """The figure as a <div> with the id `element`, for a page that holds plotly.js already."""
    figure = _figure(report, cost)
    return figure.to_html(full_html=False, include_plotlyjs=False, div_id=element, config=CONFIG, default_height=380)


def _figure(report: Report, cost: str) -> go.Figure:
    groups, line = series(report, cost), front(report, cost)
    figure = go.Figure([_line(line, cost)] if line else [])
    figure.add_traces([_trace(report, group, cost) for group in groups])
    teacher = teacher_row(report)
    if teacher:
        figure.add_hline(y=height(teacher), line={"color": STYLES["teacher"].colour, "width": 1, "dash": "dot"})
    figure.update_layout(
        template="none",
        margin={"l": 56, "r": 12, "t": 12, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(
        title_text=axis_title(report, cost), type="log", minorloglabels="complete", **_ticks(cost, groups)
    )
    figure.update_yaxes(title_text="test accuracy (%)", range=list(accuracy_range(report)), zeroline=False)
    return figure


def _ticks(cost: str, groups: list[Series]) -> dict[str, str | int]:
    """Every digit within a decade, else 1, 2 and 5, or powers of ten; MACs as 200k, 5M, milliseconds as they are."""
    values = [value for group in groups for row in group.rows if (value := row.cost(cost))]
    ratio = max(values) / min(values) if values else 1.0
    step = "D1" if ratio < 10 else "D2" if ratio < 1000 else 1
    return {"dtick": step, "exponentformat": "SI" if cost == MACS else "none"}


def _trace(report: Report, group: Series, cost: str) -> go.Scatter:
    style = STYLES[group.look]
    open_symbol = "" if group.tested or group.look == "searched" else "-open"
    reach = [interval(row) for row in group.rows]
    x, y = coordinates(group.rows, cost)
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={
            "color": style.colour,
            "symbol": style.symbol + open_symbol,
            "size": style.size + 1,
            "line": {"width": 2 if "thin" in style.symbol else 0, "color": style.colour},
        },
        opacity=style.opacity,
        error_y={
            "type": "data",
            "symmetric": False,
            "arrayminus": [low for low, _ in reach],
            "array": [high for _, high in reach],
            "thickness": 1,
            "width": 0,
            "visible": group.tested,
        },
        hovertext=[_hover(report, row, cost) for row in group.rows],
        hoverinfo="text",
    )


def _line(rows: list[Row], cost: str) -> go.Scatter:
    x, y = coordinates(rows, cost)
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": FRONT_COLOUR, "width": 2},
        hoverinfo="skip",
    )


def _hover(report: Report, row: Row, cost: str) -> str:
    """One line per fact. Escaped: plotly renders part of HTML in hover texts."""
    point = row.point
    facts = [
        f"{row.name} ({row.stage})",
        f"exits on blocks {exits(row)}" if row.exit_blocks else "",
        f"leave per exit {' / '.join(percent(share, 0) for share in point.exit_fractions)} %"
        if point.exit_fractions
        else "",
        f"test accuracy {accuracy_with_ci(point, 2)} %" if point.test_accuracy is not None else "not tested",
        f"validation accuracy {percent(point.val_accuracy, 2)} %",
    ]
    if point.macs is not None:
        facts.append(f"mean MACs {macs_unit([point.macs]).show_with_symbol(point.macs)}")
    if cost != MACS:
        facts += _latency_facts(report, row, cost)
    if point.size_bytes is not None:
        facts.append(f"file {size_unit([point.size_bytes]).show_with_symbol(point.size_bytes)}")
    if row.kind == "student" and not row.offered:
        facts.append(f"not offered: {one_line(point.reason or 'no reason recorded')}")
    return "<br>".join(html.escape(fact) for fact in facts if fact)


def _latency_facts(report: Report, row: Row, profile: str) -> list[str]:
    latency = row.latency(profile)
    if latency is None:
        return []
    if latency.mean is None:
        expected = latency.expected_mean
        return [f"expected latency {latency_unit([expected]).show_with_symbol(expected)} (estimated)"]
    unit, off = latency_unit([latency.mean]), uncertainty(latency)
    quantiles = ", ".join(
        f"{key} {unit.show_with_symbol(value, off)}" for key, of in QUANTILES.items() if (value := of(latency))
    )
    factor = show_speed_up(report, row, profile)
    return [
        f"measured mean {unit.show_with_symbol(latency.mean, off)}, {quantiles}".rstrip(", "),
        f"speed-up over the teacher {factor}" if factor != MISSING and row.kind != "teacher" else "",
        *([f"! in doubt: {'; '.join(found)}"] if (found := doubts(latency)) else []),
    ]
