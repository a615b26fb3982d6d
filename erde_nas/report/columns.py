"""The columns of the tables of operating points: a header with its unit, and the cell of a row."""

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from erde_nas.device.instructions import in_words
from erde_nas.report.points import MACS, Row, show_speed_up
from erde_nas.report.units import (
    MISSING,
    Unit,
    accuracy_with_ci,
    latency_unit,
    macs_unit,
    one_line,
    percent,
    significant,
    size_unit,
)
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, uncertainty

NAME_WIDTH = 14  # of the first column in a terminal
WORTH_SAYING = 0.01  # share of a file's calls that were interrupted
QUANTILES: dict[str, Callable[[Latency], float | None]] = {
    "p50": lambda latency: latency.p50,
    "p95": lambda latency: latency.p95,
    "p99": lambda latency: latency.p99,
}
WHERE_MEASURED: dict[str, Callable[[Latency], str]] = {  # a column of full tables, where a row has a text
    "memory (MB)": lambda latency: "" if latency.memory_bytes is None else significant(latency.memory_bytes / 1e6),
    "energy (mJ)": lambda latency: "" if latency.energy_mj is None else significant(latency.energy_mj),
}
WIDE = 0.02  # half an interval, relative to its mean: differences are then given in whole per cent


@dataclass(frozen=True)
class Column:
    """One column; `right` aligns it to the right."""

    header: str
    cell: Callable[[Row], str]
    right: bool = True


def terminal_columns(report: Report, cost: str, rows: list[Row]) -> list[Column]:
    """The columns that fit 120 characters."""
    columns = [
        Column("student", lambda row: textwrap.fill(row.name, NAME_WIDTH), right=False),
        Column("stage", lambda row: row.stage, right=False),
        Column("exits\n(blocks)", exits, right=False),
        Column("test %\n(95% CI)", lambda row: accuracy_with_ci(row.point)),
        Column("val\n%", lambda row: percent(row.point.val_accuracy)),
        _macs_column(rows, "MACs\n({})"),
    ]
    if cost == MACS:
        return columns
    unit = _latency_unit(rows, cost)
    return [
        *columns,
        Column(f"mean\n{unit.symbol}", partial(_mean, cost, unit)),
        *(Column(f"{key}\n{unit.symbol}", partial(_latency, cost, value, unit)) for key, value in QUANTILES.items()),
        Column("diff\n%", partial(_difference, cost)),
        Column("speed-\nup", partial(_speed_up, report, cost)),
    ]


def full_columns(report: Report, cost: str, rows: list[Row]) -> list[Column]:
    """Every column, for the page and for Markdown."""
    columns = [
        Column("student", lambda row: row.name, right=False),
        Column("stage", lambda row: row.stage, right=False),
        Column("exits (blocks)", exits, right=False),
        Column("test accuracy % (95% CI)", lambda row: accuracy_with_ci(row.point, 2)),
        Column("val accuracy %", lambda row: percent(row.point.val_accuracy, 2)),
        _macs_column(rows, "mean MACs ({})"),
    ]
    if cost != MACS:
        unit = _latency_unit(rows, cost)
        columns += [
            Column(f"mean ({unit.symbol}, 95% CI)", partial(_mean_with_ci, cost, unit)),
            *(
                Column(f"{key} ({unit.symbol})", partial(_latency, cost, value, unit))
                for key, value in QUANTILES.items()
            ),
            Column(
                f"expected mean ({unit.symbol})", partial(_latency, cost, lambda latency: latency.expected_mean, unit)
            ),
            Column("measured vs expected %", partial(_difference, cost)),
            Column("speed-up over teacher", partial(_speed_up, report, cost)),
        ]
        measured = [Column(header, partial(_where_measured, cost, text)) for header, text in WHERE_MEASURED.items()]
        columns += [column for column in measured if any(column.cell(row) != MISSING for row in rows)]
    size = size_unit(_known(row.point.size_bytes for row in rows))
    columns.append(Column(f"file size ({size.symbol})", lambda row: size.show(row.point.size_bytes)))
    remarked = Column("remarks", partial(remarks, cost), right=False)
    if any(map(remarked.cell, rows)):
        columns.append(remarked)
    return [*columns, Column("file", lambda row: one_line(row.point.file or MISSING), right=False)]


def exits(row: Row) -> str:
    """The blocks of its exits: "1 4 8"; of a cascade, whose networks count their own, how many there are."""
    if row.point.cascade:
        return f"{len(row.point.exit_fractions)} exits"
    return " ".join(map(str, row.exit_blocks)) or MISSING


def remarks(cost: str, row: Row) -> str:
    """What a reader must know about this row's accuracy and latency."""
    latency, how, needs = row.latency(cost), row.point.quantization, row.point.instructions
    where = f"8-bit weights, for {in_words(needs)} only" if needs else "7-bit weights, for any CPU"
    found = [f"int8: {one_line(how)}, {where}"] if how else []
    found += map(one_line, row.point.remarks)
    if latency is None:
        return "; ".join(found)
    found += [one_line(latency.note)] if latency.note else []
    found += doubts(latency)
    if latency.interrupted is not None and latency.interrupted > WORTH_SAYING:
        found.append(f"{latency.interrupted:.0%} of the calls were interrupted and made again")
    if latency.mean is None:
        found.append("estimated, not measured")
    return "; ".join(found)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _latency_unit(rows: list[Row], cost: str) -> Unit:
    latencies = [latency for row in rows if (latency := row.latency(cost))]
    return latency_unit(_known(latency.mean or latency.expected_mean for latency in latencies))


def _macs_column(rows: list[Row], header: str) -> Column:
    unit = macs_unit(_known(row.point.macs for row in rows))
    symbol = unit.symbol or "1"
    return Column(header.format(symbol), lambda row: unit.show(row.point.macs))


def _latency(cost: str, value: Callable[[Latency], float | None], unit: Unit, row: Row) -> str:
    latency = row.latency(cost)
    return MISSING if latency is None else unit.show(value(latency), uncertainty(latency))


def _mean(cost: str, unit: Unit, row: Row) -> str:
    latency = row.latency(cost)
    if latency is None:
        return MISSING
    if latency.mean is None:
        return "~" + unit.show(latency.expected_mean)
    return unit.show(latency.mean, uncertainty(latency)) + ("!" if doubts(latency) else "")


def _mean_with_ci(cost: str, unit: Unit, row: Row) -> str:
    latency = row.latency(cost)
    if latency is None:
        return MISSING
    interval, off = latency.interval, uncertainty(latency)
    around = f" ({unit.show(interval[0], off)}–{unit.show(interval[1], off)})" if interval else ""
    return unit.show(latency.mean, off) + ("!" if doubts(latency) else "") + around


def _where_measured(cost: str, text: Callable[[Latency], str], row: Row) -> str:
    latency = row.latency(cost)
    return (latency and text(latency)) or MISSING


def _difference(cost: str, row: Row) -> str:
    """Measured mean minus the mean expected from the cost of each exit, in percent of the latter."""
    latency = row.latency(cost)
    if latency is None or latency.mean is None or not latency.expected_mean:
        return MISSING
    difference = latency.mean / latency.expected_mean - 1
    return f"{100 * difference:+.0f}" if uncertainty(latency) > WIDE else f"{100 * difference:+.1f}"


def _speed_up(report: Report, cost: str, row: Row) -> str:
    return show_speed_up(report, row, cost)
