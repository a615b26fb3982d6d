"""A file's operating curve on validation, kept beside it as `<file>.curve.json` for budgets that come at run time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from erde_nas.files import read_json, write_json

POINTS = 20  # at most: neighbours on a longer curve differ by less than validation can tell


class OnCurve(Protocol):
    """A point of a curve: thresholds, one per exit but the last, shares per exit, accuracy on validation."""

    @property
    def thresholds(self) -> tuple[float, ...]: ...
    @property
    def exit_fractions(self) -> tuple[float, ...]: ...
    @property
    def accuracy(self) -> float: ...


def curve_path(model: Path) -> Path:
    """Where the curve of a model lies: model.int8.curve.json beside model.int8.onnx."""
    return model.with_suffix(".curve.json")


def write_curve(model: Path, curve: Sequence[OnCurve]) -> None:
    """Keep at most 20 points of a curve, evenly spaced in their order, with both ends."""
    count = min(POINTS, len(curve))
    chosen = [curve[round(i * (len(curve) - 1) / max(1, count - 1))] for i in range(count)]
    rows = [
        {"thresholds": p.thresholds, "exit_fractions": p.exit_fractions, "val_accuracy": p.accuracy} for p in chosen
    ]
    write_json(curve_path(model), rows)


def read_curve(model: Path) -> list[dict[str, Any]]:
    """The curve beside a model; empty where there is none, as in runs of version 0.1.0 and before."""
    path = curve_path(model)
    return read_json(path) if path.is_file() else []
