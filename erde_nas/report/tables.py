"""The front as tables: one per hardware profile, sorted by cost, the baselines and the teacher at the bottom."""

from collections.abc import Iterable
from dataclasses import dataclass

from tabulate import tabulate

from erde_nas.report.columns import full_columns, terminal_columns
from erde_nas.report.points import (
    MACS,
    Row,
    comparable_teacher,
    comparison_rows,
    front_rows,
    offered_rows,
    profile_names,
    teacher_row,
)
from erde_nas.report.summary import summary_sentence
from erde_nas.report.units import one_line
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.report import ProfileFacts, Report
from erde_nas.report_data.uncertainty import doubts

__all__ = ["Table", "front_table", "front_tables", "setting", "summary_sentence"]


@dataclass(frozen=True)
class Table:
    """A table of finished text. `right[i]` aligns column i to the right; `notes` stand below."""

    title: str
    headers: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()


def front_table(report: Report, fmt: str = "simple", full: bool = False) -> str:
    """The tables of every profile as text in one of tabulate's formats.

    The short form shows the points on the front in 120 characters; the full form all offered students and columns.
    """
    return "\n\n".join(_as_text(table, fmt) for table in front_tables(report, full))


def front_tables(report: Report, full: bool) -> list[Table]:
    """One table per profile, or one by MACs where nothing has been measured yet."""
    priced = [name for name in profile_names(report) if offered_rows(report, name)]
    return [_table(report, cost, full) for cost in priced or [MACS]]


def _table(report: Report, cost: str, full: bool) -> Table:
    offered = offered_rows(report, cost)
    students = offered if full else front_rows(report, cost) or offered
    others, twins = without_twins(comparison_rows(report), students)
    if cost != MACS:
        others = [row for row in others if row.latency(cost)]
    rows = students + others
    columns = (full_columns if full else terminal_columns)(report, cost, rows)
    hidden = len(offered) - len(students)
    more = (f"{hidden} more offered, but not on this front: see report.html.",) if hidden else ()
    return Table(
        title=_title(report, cost),
        headers=tuple(column.header for column in columns),
        cells=tuple(tuple(column.cell(row) for column in columns) for row in rows),
        right=tuple(column.right for column in columns),
        notes=(*more, *table_notes(report, cost, rows, short=not full), *twins),
    )


def without_twins(others: list[Row], students: list[Row]) -> tuple[list[Row], list[str]]:
    """The baselines that are no student of the table, and a note on each that is: nothing stands in a table twice."""
    shown: dict[str | None, str] = {
        row.point.file: row.name for row in students if row.point.file and not row.point.thresholds
    }
    twins = [row for row in others if row.kind == "baseline" and row.point.file in shown]
    notes = [f"{shown[row.point.file]} is the {row.name} as well." for row in twins]
    return [row for row in others if row not in twins], notes


def _title(report: Report, cost: str) -> str:
    if cost == MACS:
        return "MACs per image (mean over the exits taken)"
    return f"{one_line(cost)}: {setting(report, cost)}"


def setting(report: Report, profile: str) -> str:
    """What a latency under `profile` was measured with: "onnxruntime, cpu, 1 thread, fp32, batch 1"."""
    rows = offered_rows(report, profile) + comparison_rows(report)
    latencies = (latency for row in rows if (latency := row.latency(profile)))
    known: ProfileFacts | Latency | None = report.profiles.get(profile) or next(latencies, None)
    if known is None:
        return "setting not recorded"
    parts = [
        known.runtime,
        known.device,
        known.target if isinstance(known, ProfileFacts) and known.target != "here" else "",
        f"{known.threads} thread{'s' if known.threads != 1 else ''}",
        known.precision,
        f"batch {known.batch_size}",
    ]
    return one_line(", ".join(part for part in parts if part))


def table_notes(report: Report, cost: str, rows: list[Row], short: bool = False) -> Iterable[str]:
    """What a reader of a table of these rows must know. `short`: its estimates have a mark alone."""
    if cost == MACS:
        return
    yield from _without_teacher(report, cost)
    entries = [entry for row in rows if (entry := row.latency(cost))]
    if short and any(entry.mean is None for entry in entries):
        yield "~ estimated from the cost of each exit, not measured."
    if any(map(doubts, entries)):
        reasons = "; ".join(dict.fromkeys(reason for entry in entries for reason in doubts(entry)))
        yield f"! in doubt ({reasons}); measure on a quiet machine."
    compared = (comparable_teacher(report, row, cost) for row in rows)
    other = next((found[0] for found in compared if found and found[0] != cost), None)
    if other:
        yield f"Speed-up: over the teacher under {one_line(other)} ({setting(report, other)})."


def _without_teacher(report: Report, cost: str) -> Iterable[str]:
    """Why the teacher has no row under a profile, where one of its files was left out."""
    teacher = teacher_row(report)
    if teacher is None or teacher.latency(cost):
        return
    for why in dict.fromkeys(why for file, why in report.left_out.items() if file.startswith("teacher/")):
        yield one_line(f"The teacher has no row here, since its file could not be deployed and measured: {why}")


def _as_text(table: Table, fmt: str) -> str:
    align = ["right" if right else "left" for right in table.right]
    body = tabulate(table.cells, table.headers, tablefmt=fmt, disable_numparse=True, colalign=align)
    text = body if table.cells else "No student yet."
    return "\n".join([table.title, "", text, *table.notes])
