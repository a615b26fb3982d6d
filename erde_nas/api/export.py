"""`erde_nas.export`: a student of a run -> the folder to ship."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from erde_nas.api.run import Run, run_of
from erde_nas.api.student import write_student


def export(
    run: Run | str | PathLike[str], student: str, folder: str | PathLike[str], *, formats: Sequence[str] = ()
) -> list[Path]:
    """Write the folder to ship: models, their segments, student.json, a model card, and a runner of one file.

    Args:
        run: a run, or its folder.
        student: id of a student with a deployable file.
        folder: a new or empty one.
        formats: onnx, openvino or executorch; none: all that are installed.

    Returns:
        The files that were written, student.json last.

    Raises:
        UserError: for a student without a file, a folder that holds anything, a format that is not installed, and a
            file of the run that is missing or damaged.
    """
    found = run_of(run)
    return write_student(found.folder, found.results, student, folder, formats)
