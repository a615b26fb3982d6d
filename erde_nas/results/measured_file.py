"""measured.json: the points of the last measurement, before it is decided which of them are offered."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from erde_nas.errors import UserError
from erde_nas.files import checked, read_json, write_json
from erde_nas.report_data.file_of import file_of
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.point import Point
from erde_nas.report_data.screened import ScreenedPoint
from erde_nas.run.folder import REPORT, RunStore

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
    weights: dict[str, str] = field(default_factory=dict)  # digests of the students' weights, and the teacher's


def read_measured(store: RunStore) -> Measured:
    """The last measurement of a run; empty where there was none. Raises UserError where the file is damaged."""
    path = store.folder / FILE
    if not path.is_file():
        return Measured((), None, (), ())
    return checked(path, lambda: from_json(Measured, read_json(path, REMEDY)), REMEDY)


def write_measured(store: RunStore, measured: Measured) -> None:
    """Write the file, whole or not at all."""
    write_json(store.folder / FILE, to_json(measured))


def weights_of(store: RunStore, students: Collection[str]) -> dict[str, str]:
    """The digests of the students' weights and of the teacher's, where they are known."""
    found = {name: record.weights for name in students if (record := store.record(name)) is not None}
    return {name: digest for name, digest in {**found, "teacher": store.manifest().teacher}.items() if digest}


def set_aside_stale(store: RunStore, say: Callable[[str], None]) -> None:
    """Move the last measurement and the report out of the way where they are not of what the run folder holds now.

    `say` hears why. Everything is measured again then.
    """
    measured = read_measured(store)
    why = _stale(store, measured)
    if why:
        say(f"{FILE} does not belong to the rest of the run: {why}; it is set aside with the report, and made again")
        for name in (FILE, "timings.json", *REPORT):
            if (store.folder / name).is_file():
                store.set_aside(name)


def _stale(store: RunStore, measured: Measured) -> str:
    for name in measured.students:
        record = store.record(name)
        if record is None or record.stage not in ("finished", "pruned"):
            return f"{name} is not finished"
    now = weights_of(store, measured.students)
    for name, digest in measured.weights.items():
        if now.get(name, digest) != digest:
            return f"the weights of {name} are others"
    points = [*measured.points, *measured.baselines, *([] if measured.teacher is None else [measured.teacher])]
    try:
        for file in {point.file: point for point in points if point.file}.values():
            file_of(store.folder, file)
    except UserError as error:
        return str(error)
    return ""
