"""A student of a run, as its report and its files describe it: what a bundle is made from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.errors import UserError
from erde_nas.onnx_files.metadata import Metadata, read_metadata


@dataclass(frozen=True)
class Source:
    """One student with a deployable file. `run` is the run's folder, `report` its pareto.json."""

    run: Path
    student: str
    report: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where its weights.safetensors and arch.json lie."""
        return self.run / "students" / self.student

    @property
    def points(self) -> list[dict[str, Any]]:
        """Its measured operating points in ONNX Runtime, as they stand in the report."""
        return [point for point in self.report["points"] if point["student"] == self.student and _is_onnx(point)]

    @cached_property
    def files(self) -> dict[str, Path]:
        """The deployable files by name."""
        return {Path(point["file"]).name: self.run / point["file"] for point in self.points}

    @cached_property
    def exported(self) -> dict[str, Metadata]:
        """What every file says of itself. Raises UserError where one is missing or damaged."""
        return {name: read_metadata(path) for name, path in self.files.items()}

    def points_of(self, model: str) -> list[dict[str, Any]]:
        """The operating points of one file."""
        return [point for point in self.points if Path(point["file"]).name == model]

    def default_point(self, model: str) -> dict[str, Any]:
        """The point whose thresholds are the file's default. Raises UserError where the report knows none."""
        thresholds = np.array(self.exported[model].thresholds, np.float32)
        for point in self.points_of(model):
            if np.array_equal(np.array(point["thresholds"], np.float32), thresholds):
                return point
        raise UserError(
            f"{self.files[model]} was written after the report of {self.run}; measure it with `erde-nas compress "
            f"{self.run}` first"
        )

    def shipped(self) -> list[str]:
        """The files worth using: those with a point that the report offers, or all where it offers none."""
        offered = [name for name in self.files if any(point["offered"] for point in self.points_of(name))]
        return offered or list(self.files)

    def best(self, tolerance: float) -> str:
        """Of the files worth using, at their default thresholds, the fastest within `tolerance` of the best accuracy on
        validation: by the mean on the first profile that timed all of these."""
        defaults = {name: self.default_point(name) for name in self.shipped()}
        accuracy = max(point["val_accuracy"] for point in defaults.values())
        close = {n: p for n, p in defaults.items() if p["val_accuracy"] >= accuracy - tolerance - 1e-12}
        means = {
            n: {k: v["mean"] for k, v in p["latency_ms"].items() if v["mean"] is not None} for n, p in close.items()
        }
        common = [profile for profile in self.report["profiles"] if all(profile in known for known in means.values())]
        return min(close, key=lambda name: means[name][common[0]]) if common else next(iter(close))


def _is_onnx(point: dict[str, Any]) -> bool:
    return bool(point["file"]) and point["file"].endswith(".onnx")


def find_student(run: Path, student: str, report: dict[str, Any]) -> Source:
    """The student to ship. Raises UserError, with the students that there are, for one without a file."""
    source = Source(run, student, report)
    if not source.points:
        names = sorted({point["student"] for point in report["points"] if _is_onnx(point)})
        raise UserError(
            f"{run} has no deployable file of '{student}'; it has those of {', '.join(names) or 'none'}. Another "
            f"candidate of the run gets one with `erde-nas compress {run} --student ID`"
        )
    return source
