"""A student of a run with its measured deployables, as report and files describe it: what a bundle is made of."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from erde_nas.errors import UserError
from erde_nas.onnx_files.metadata import Metadata, read_metadata
from erde_nas.report_data.file_of import file_of
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import Report


@dataclass(frozen=True)
class MeasuredStudent:
    """One student with a deployable. `run` is the run's folder, `report` its report."""

    run: Path
    name: str
    report: Report

    @property
    def folder(self) -> Path:
        """Where its weights.safetensors and arch.json lie."""
        return self.run / "students" / self.name

    @cached_property
    def by_model(self) -> dict[str, list[Point]]:
        """Its measured operating points in ONNX Runtime by the name of their file, in the report's order."""
        found: dict[str, list[Point]] = {}
        for point in self.report.points:
            if point.student == self.name and (file := _onnx_file(point)):
                found.setdefault(Path(file).name, []).append(point)
        return found

    @cached_property
    def files(self) -> dict[str, Path]:
        """The deployables by the name of their file."""
        return {name: self.run / str(points[0].file) for name, points in self.by_model.items()}

    @cached_property
    def exported(self) -> dict[str, Metadata]:
        """What every file says of itself. Raises UserError where one is missing, damaged, or not as it was measured."""
        return {name: read_metadata(file_of(self.run, points[0])) for name, points in self.by_model.items()}

    def default_point(self, model: str) -> Point:
        """The point whose thresholds are the file's default. Raises UserError where the report knows none."""
        thresholds = np.array(self.exported[model].thresholds, np.float32)
        for point in self.by_model[model]:
            if np.array_equal(np.array(point.thresholds, np.float32), thresholds):
                return point
        raise UserError(
            f"{self.files[model]} was written after the report of {self.run}; measure it with `erde-nas compress "
            f"{self.run}` first"
        )

    def is_offered(self, model: str) -> bool:
        """Whether the report offers a point of this file."""
        return any(point.offered for point in self.by_model[model])

    def shipped(self) -> list[str]:
        """The files worth using: those with a point that the report offers, or all where it offers none."""
        return [name for name in self.files if self.is_offered(name)] or list(self.files)

    def best(self, tolerance: float) -> str:
        """Of the files worth using, at their default thresholds, the cheapest within `tolerance` of the best accuracy
        on validation: by the objective of the first profile that timed all of these."""
        defaults = {name: self.default_point(name) for name in self.shipped()}
        accuracy = max(point.val_accuracy for point in defaults.values())
        close = {name: p for name, p in defaults.items() if p.val_accuracy >= accuracy - tolerance - 1e-12}
        for profile, facts in self.report.profiles.items():
            costs = {
                n: p.latency_ms[profile].cost(facts.objective) for n, p in close.items() if profile in p.latency_ms
            }
            timed = {name: cost for name, cost in costs.items() if cost is not None}
            if len(timed) == len(close):
                return min(timed, key=lambda name: timed[name])
        return next(iter(close))


def _onnx_file(point: Point) -> str:
    return point.file if point.file and point.file.endswith(".onnx") else ""


def find_student(run: Path, name: str, report: Report) -> MeasuredStudent:
    """The student to ship. Raises UserError, with the students that there are, for one without a file."""
    student = MeasuredStudent(run, name, report)
    if not student.by_model:
        ruled_out = next((point.reason for point in report.screened if point.student == name), "")
        if ruled_out:
            raise UserError(
                f"{run} has no deployable file of '{name}', which a brief measurement ruled out: {ruled_out}; "
                f"`erde-nas compress {run} --student {name.split('-')[0]}` makes and measures one"
            )
        names = sorted({point.student for point in report.points if _onnx_file(point)})
        raise UserError(
            f"{run} has no deployable file of '{name}'; it has those of {', '.join(names) or 'none'}. Another "
            f"candidate of the run gets one with `erde-nas compress {run} --student ID`"
        )
    return student
