"""A student's operating points in one table: what `run.py` chooses from when a budget is given.

Points that were measured keep their test accuracy and their measured means. The rest of the curve has validation
accuracy alone, and a mean that is estimated: the share of every exit times the measured cost of leaving there.
"""

from collections.abc import Sequence
from typing import Any

from erde_nas.bundle.source import Source
from erde_nas.onnx_files.curve import read_curve

MEASURED = ("mean", "p50", "p95", "p99")
FIRMNESS = (
    "interval",
    "noisy",
    "interrupted",
)  # how far the numbers hold: front/uncertainty.py


def trade_offs(source: Source, models: Sequence[str]) -> list[dict[str, Any]]:
    """All points of these models (file names), by rising mean latency on the first profile that knows them."""
    rows = []
    for model in models:
        points = source.points_of(model)
        rows += [measured_row(model, point) for point in points]
        known = {tuple(point["thresholds"]) for point in points}
        costs = {profile: entry["per_exit"] for profile, entry in points[0]["latency_ms"].items()}
        curve = [point for point in read_curve(source.files[model]) if tuple(point["thresholds"]) not in known]
        rows += [_estimated_row(model, point, costs) for point in curve]
    return sorted(rows, key=lambda row: next((entry["mean"] for entry in row["latency_ms"].values()), 0.0))


def measured_row(model: str, point: dict[str, Any]) -> dict[str, Any]:
    """A point of the report as a row of the table."""
    keys = ("thresholds", "exit_fractions", "val_accuracy", "test_accuracy", "test_accuracy_ci95")
    return {"model": model, **{key: point[key] for key in keys}, "latency_ms": measured_latency(point)}


def measured_latency(point: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds per image under each profile that timed the point."""
    return {
        profile: {**{key: entry.get(key) for key in (*MEASURED, *FIRMNESS)}, "source": "measured"}
        for profile, entry in point["latency_ms"].items()
        if entry["mean"] is not None
    }


def _estimated_row(model: str, point: dict[str, Any], costs: dict[str, Sequence[float]]) -> dict[str, Any]:
    fractions = point["exit_fractions"]
    latency = {
        profile: {
            "mean": sum(share * ms for share, ms in zip(fractions, per_exit, strict=True)),
            "source": "estimated",
        }
        for profile, per_exit in costs.items()
    }
    return {"model": model, **point, "test_accuracy": None, "test_accuracy_ci95": None, "latency_ms": latency}
