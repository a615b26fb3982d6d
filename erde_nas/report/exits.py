"""The exits of the offered students: how many images leave at each, how accurate it is, what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from erde_nas.report.points import MACS, Row, best_rows, by_cost
from erde_nas.report.tables import Table
from erde_nas.report.units import MISSING, macs_unit, percent, significant
from erde_nas.report_data.report import Report

T = TypeVar("T")


@dataclass(frozen=True)
class ExitFact:
    """One exit of a student: shares between 0 and 1; the threshold is None for the last exit, which answers."""

    block: int | None
    threshold: float | None
    share: float
    accuracy: float | None
    macs: float | None


def exit_rows(report: Report) -> list[Row]:
    """The best students, whose exits are shown: those that exist as files (the searched ones while none does)."""
    best = best_rows(report)
    rows = [row for row in best if row.deployed] or best
    return by_cost(rows, MACS) + [row for row in rows if row.cost(MACS) is None]


def exit_facts(row: Row) -> list[ExitFact]:
    """The exits of a student in order; as many as it has exit fractions."""

    def nth(values: Sequence[T] | None, index: int) -> T | None:
        return values[index] if values and index < len(values) else None

    point = row.point
    return [
        ExitFact(
            block=nth(row.exit_blocks, index),
            threshold=nth(point.thresholds, index),
            share=share,
            accuracy=nth(point.exit_accuracy, index),
            macs=nth(point.macs_per_exit, index),
        )
        for index, share in enumerate(point.exit_fractions)
    ]


def exits_table(report: Report) -> Table:
    """One line per exit of every offered student."""
    cells = []
    for row in exit_rows(report):
        for fact in exit_facts(row):
            cells.append((row.name, row.stage, *exit_cells(fact)))
    headers = exit_headers(report)
    return Table("Exits", ("student", "stage", *headers), tuple(cells), (False, False, *(True,) * len(headers)))


def exit_headers(report: Report) -> tuple[str, ...]:
    """What is said of an exit."""
    return ("block", f"threshold{report.exit_rule.unit_text}", "leave here %", "accuracy %", "MACs")


def exit_cells(fact: ExitFact) -> tuple[str, ...]:
    """The texts below `exit_headers`."""
    return (
        MISSING if fact.block is None else str(fact.block),
        "last" if fact.threshold is None else significant(fact.threshold),
        percent(fact.share),
        percent(fact.accuracy),
        MISSING if fact.macs is None else macs_unit([fact.macs]).show_with_symbol(fact.macs),
    )
