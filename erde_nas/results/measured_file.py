"""measured.json: the points of the last measurement, before it is decided which of them are offered."""

from dataclasses import dataclass, field

from erde_nas.files import checked, read_json, write_json
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.point import Point
from erde_nas.report_data.screened import ScreenedPoint
from erde_nas.run.folder import RunStore

FILE = "measured.json"
REMEDY = "delete it and give the same command again: everything is measured anew"


@dataclass(frozen=True)
class Measured:
    """All points of the last measurement, and the students that took part."""

    students: tuple[str, ...]
    teacher: Point | None
    baselines: tuple[Point, ...]
    points: tuple[Point, ...]
    unmeasured: dict[str, str] = field(default_factory=dict)  # profiles whose device was lost, and how
    left_out: dict[str, str] = field(default_factory=dict)  # files without numbers, and why
    screened: tuple[ScreenedPoint, ...] = ()  # what a brief measurement ruled out


def read_measured(store: RunStore) -> Measured:
    """The last measurement of a run; empty where there was none. Raises UserError where the file is damaged."""
    path = store.folder / FILE
    if not path.is_file():
        return Measured((), None, (), ())
    return checked(path, lambda: from_json(Measured, read_json(path, REMEDY)), REMEDY)


def write_measured(store: RunStore, measured: Measured) -> None:
    """Write the file, whole or not at all."""
    write_json(store.folder / FILE, to_json(measured))
