"""What a run knows of each of its students: `students/<id>/metrics.json`, read and written here alone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from erde_nas.files import checked, read_json, write_json
from erde_nas.space.findings import STRICT, Findings

FILE = "metrics.json"
OLD = {"arch", "latency_per_exit_ms"}  # stood beside `stage`, with all of `searched`, in an earlier version


@dataclass(frozen=True)
class RungResult:
    """What a student was after one rung of its finishing: its epochs, accuracy on validation, and objectives.
    `curve` is that of `Judged`, `weights` the digest of its weights."""

    __pydantic_config__ = STRICT

    epochs: int
    val_accuracy: float
    objectives: tuple[float, ...]
    curve: tuple[tuple[float, float], ...] = ()
    weights: str = ""


def _findings(value: Any) -> Any:
    return Findings.from_json(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True)
class StudentRecord:
    """How far a student came. `searched` is what it was after its brief training, `rungs` what finishing made of it.

    A pruned student was made of `parent`, and in the end of the finished student `origin`, by removing `ratio` of the
    channels or exits. `used_exits` are those that its operating points use, once that was looked at; `kept_exits` those
    of `parent` that one with fewer exits has. `cheapest`: pruning makes nothing cheaper. `reason` says why it failed.
    `weights` is the digest of its weights as `stage` left them, `made_of` of those of its parent; runs of earlier
    versions have none.
    """

    __pydantic_config__ = STRICT

    stage: Literal["searched", "finished", "pruned", "failed"]
    reason: str = ""
    searched: Annotated[Findings | None, BeforeValidator(_findings), PlainSerializer(Findings.to_json)] = None
    rungs: tuple[RungResult, ...] = ()
    parent: str = ""
    origin: str = ""
    ratio: float | None = None
    used_exits: tuple[int, ...] | None = None
    kept_exits: tuple[int, ...] | None = None
    cheapest: bool = False
    weights: str = ""
    made_of: str = ""


_RECORD = TypeAdapter(StudentRecord)


def read_student(folder: Path) -> StudentRecord | None:
    """What is known of the student in `folder`; None where nothing is. Raises UserError for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return None
    return checked(path, lambda: _RECORD.validate_python(_as_now(read_json(path))))


def write_student(folder: Path, record: StudentRecord) -> None:
    """Keep what is known of the student in `folder`; what is not is left out."""
    values = _RECORD.dump_python(record, mode="json", exclude_defaults=True)
    write_json(folder / FILE, values)


def _as_now(values: Any) -> Any:
    """The content of this version's file, of an earlier version's."""
    if not isinstance(values, Mapping):
        return values
    if values.keys() >= OLD:
        own = {field.name for field in fields(StudentRecord)}
        searched = {key: value for key, value in values.items() if key not in own}
        values = {**{key: value for key, value in values.items() if key in own}, "searched": searched}
    return {**values, "origin": values.get("origin", values.get("parent", ""))}
