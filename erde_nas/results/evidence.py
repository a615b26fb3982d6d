"""What a run's folder holds beside measurements: the curves of its files, and how its students came to be."""

from collections.abc import Iterable
from pathlib import Path

from erde_nas.errors import UserError
from erde_nas.files import checked
from erde_nas.onnx_files.curve import curve_path, read_curve
from erde_nas.report_data.evidence import CurvePoint, TrainedStudent
from erde_nas.report_data.json_records import from_json
from erde_nas.report_data.point import Point
from erde_nas.run.folder import RunStore


def curves_of(folder: Path, points: Iterable[Point]) -> dict[str, tuple[CurvePoint, ...]]:
    """The curve on validation of every measured file with more than one exit.

    A report does without one that is damaged: exporting the student says what is wrong with it.
    """
    exits = {point.file: len(point.exit_fractions) for point in points if point.file}
    found = {file: _curve(folder / file, count) for file, count in exits.items() if count > 1}
    return {file: curve for file, curve in found.items() if curve}


def _curve(model: Path, exits: int) -> tuple[CurvePoint, ...]:
    try:
        curve = checked(curve_path(model), lambda: tuple(from_json(list[CurvePoint], read_curve(model))))
    except UserError:
        return ()
    return curve if all(len(point.exit_fractions) == exits for point in curve) else ()


def students_of(store: RunStore) -> dict[str, TrainedStudent]:
    """Of every student that was taken further than the search: its accuracies on the way, and what it was made of."""
    return {
        name: TrainedStudent(
            searched_accuracy=judged.best_accuracy if record.searched and (judged := record.searched.judged) else None,
            rungs=tuple((rung.epochs, rung.val_accuracy) for rung in record.rungs),
            parent=record.parent,
        )
        for name, record in store.records().items()
        if record.rungs or record.parent or record.stage == "finished"
    }
