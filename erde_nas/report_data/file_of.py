"""The file of a point, as it was measured and nothing else."""

from pathlib import Path

from erde_nas.errors import UserError
from erde_nas.files import sha256_of
from erde_nas.report_data.point import Point


def file_of(run: Path, point: Point) -> Path:
    """The deployable of a point of the run in the folder `run`.

    Raises UserError where there is none, or it is not the one that was measured; what runs of earlier versions measured
    cannot be told.
    """
    path = run / str(point.file)
    if point.file is None or not path.is_file():
        raise UserError(f"{path} is missing; restore it, or measure the run again with `erde-nas compress {run}`")
    if point.sha256 and sha256_of(path) != point.sha256:
        raise UserError(
            f"{path} is not the file that was measured: its content has changed since; restore it, or measure the run "
            f"again with `erde-nas compress {run}`"
        )
    return path
