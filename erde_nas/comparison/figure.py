"""distil.png: accuracy against MACs, the difference from the reference, calibration and failure prediction."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b")  # Okabe and Ito's
LEGEND_WIDTH = 150  # characters that fit side by side
DASHES = ("-", "--", ":", "-.")  # a second round of colours is told apart by these


def figure_png(summary: dict[str, Any]) -> bytes:
    """The figure as PNG; bands and bars are 95 % intervals over seeds."""
    shown = [entry for entry in summary["losses"] if entry["seeds"]]
    figure = Figure(figsize=(14, 10), dpi=100, layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    budgets = np.array(summary["budgets"]) / 1e6
    _curves(axes[0], budgets, shown, "mean", "ci95")
    axes[0].set(xlabel="budget: mean M MACs per image", ylabel="test accuracy in %", title="Accuracy at every budget")
    _curves(axes[1], budgets, shown, "difference", "difference_ci95")
    axes[1].set(
        xlabel="budget: mean M MACs per image",
        ylabel="percentage points",
        title=f"Difference from {summary['reference']}, same seeds",
    )
    exits = np.arange(1, len(summary["macs_per_exit"]) + 1)
    _bars(axes[2], exits, shown, "ece")
    axes[2].set(ylabel="expected calibration error", title="Calibration (lower is better)")
    _bars(axes[3], exits, shown, "auroc")
    axes[3].set(ylabel="AUROC of entropy against mistakes", title="Failure prediction (higher is better)")
    handles, names = axes[0].get_legend_handles_labels()
    columns = max(1, min(4, LEGEND_WIDTH // max(map(len, names))))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}


def _curves(axis: Axes, budgets: np.ndarray, shown: Sequence[dict[str, Any]], mean: str, spread: str) -> None:
    for number, entry in enumerate(shown):
        if mean not in entry["curve"]:
            continue
        middle, half = (100 * np.array(entry["curve"][key]) for key in (mean, spread))
        marker = "o" if len(budgets) == 1 else None
        axis.plot(budgets, middle, label=entry["loss"], marker=marker, **_style(number))
        if np.isfinite(half).all():
            axis.fill_between(budgets, middle - half, middle + half, color=_style(number)["color"], alpha=0.12, lw=0)
    axis.grid(alpha=0.3)


def _bars(axis: Axes, exits: np.ndarray, shown: Sequence[dict[str, Any]], kind: str) -> None:
    width = 0.8 / len(shown)
    for number, entry in enumerate(shown):
        found = [entry["measures"][f"{kind}.{i}"] for i in exits]
        halves = [e["ci95"] if np.isfinite(e["ci95"]) else 0.0 for e in found]
        places = exits + (number - (len(shown) - 1) / 2) * width
        colour = _style(number)["color"]
        axis.errorbar(places, [e["mean"] for e in found], halves, fmt="o", color=colour, capsize=2, ms=4)
    axis.set_xticks(exits, [f"exit {i}" for i in exits])
    axis.grid(alpha=0.3, axis="y")
