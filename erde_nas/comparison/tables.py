"""distil.md and distil.csv: the measures of every loss."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

Summary = dict[str, Any]
Columns = list[tuple[str, str]]  # (measure, heading)
AS_IS = ("ece", "auroc")  # shown as they are; everything else is a share, shown in per cent


def accuracy_columns(summary: Summary) -> Columns:
    """Area, accuracy at fixed budgets, accuracy per exit."""
    names = list(next(entry["measures"] for entry in summary["losses"] if entry["seeds"]))
    exits = range(1, len(summary["macs_per_exit"]) + 1)
    budgets = [name for name in names if name.startswith("budget.")]
    return (
        [("area", "area")]
        + [(name, f"at {float(name.removeprefix('budget.')):.0%}") for name in budgets]
        + [(f"accuracy.{i}", f"exit {i}") for i in exits]
    )


def trust_columns(summary: Summary) -> Columns:
    """Calibration and failure prediction per exit."""
    exits = range(1, len(summary["macs_per_exit"]) + 1)
    return [(f"{kind}.{i}", f"{kind.upper()} {i}") for kind in AS_IS for i in exits]


def table(summary: Summary, columns: Columns, style: str = "simple") -> str:
    """Mean ± 95 % half interval of every loss."""
    rows = [
        [entry["loss"], len(entry["seeds"])]
        + [show(name, entry["measures"][name]) if entry["seeds"] else "failed" for name, _ in columns]
        for entry in summary["losses"]
    ]
    return _render(rows, ["loss", "seeds"], columns, style)


def difference_table(summary: Summary, columns: Columns, style: str = "simple") -> str:
    """Each loss minus the reference on the same seeds: mean ± 95 % half interval, with the paired test's p."""
    rows = [
        [entry["loss"]] + [show(name, entry["difference"][name], signed=True) for name, _ in columns]
        for entry in summary["losses"]
        if entry["loss"] != summary["reference"] and entry.get("difference")
    ]
    return _render(rows, [f"minus {summary['reference']}"], columns, style)


def _render(rows: list[list[Any]], lead: list[str], columns: Columns, style: str) -> str:
    headers = [*lead, *(heading for _, heading in columns)]
    return tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True)


def show(name: str, found: dict[str, Any], signed: bool = False) -> str:
    """`71.2 ±0.4`, and ` (p 0.012)` for a difference; accuracies in per cent."""
    factor, digits = (1, 3) if name.split(".")[0] in AS_IS else (100, 1)
    mean = f"{found['mean'] * factor:{'+' if signed else ''}.{digits}f}"
    spread = f" ±{found['ci95'] * factor:.{digits}f}" if math.isfinite(found["ci95"]) else ""
    p = f" (p {found['p']:.3f})" if signed and math.isfinite(found.get("p", math.nan)) else ""
    return mean + spread + p


def markdown(summary: Summary) -> str:
    """distil.md."""
    macs = ", ".join(f"{m / 1e6:.3g} M" for m in summary["macs_per_exit"])
    accuracy, trust = accuracy_columns(summary), trust_columns(summary)
    parts = [
        f"# Losses on {summary['dataset']['name']}, student {summary['student']}",
        f"MACs per exit: {macs}. Test accuracy in per cent, mean over seeds ± half of the 95 % interval; "
        f"thresholds of the exit rule {summary['exit_rule']} are chosen on validation. `area` is the mean accuracy "
        "over budgets between the first exit's MACs and the last one's; `at 70%` is the accuracy at 70 % of the whole "
        "network's MACs.",
        table(summary, accuracy, "pipe"),
        difference_table(summary, accuracy, "pipe"),
        "Expected calibration error (15 bins) and the area under the ROC curve of entropy against mistakes, per exit:",
        table(summary, trust, "pipe"),
        _teacher(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _teacher(summary: Summary) -> str:
    teacher = summary["teacher"]
    test, train = (
        " / ".join(f"{100 * share:.1f}" for share in teacher[key]) for key in ("test_accuracy", "right_in_training")
    )
    return f"Teacher per exit: test accuracy {test} %; right on {train} % of the training views."


def csv_rows(summary: Summary) -> str:
    """distil.csv: one line per loss and seed, with every measure."""
    names = list(next((e["measures"] for e in summary["losses"] if e["seeds"]), {}))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["loss", "seed", *names])
    for entry in summary["losses"]:
        for index, seed in enumerate(entry["seeds"]):
            writer.writerow([entry["loss"], seed, *(f"{entry['measures'][n]['values'][index]:.6g}" for n in names)])
    return out.getvalue()


def headline(summary: Summary) -> Sequence[str]:
    """The tables that a terminal gets."""
    columns = accuracy_columns(summary)
    return [text for text in (table(summary, columns), difference_table(summary, columns)) if text]
