"""`manifest.json` of a run folder: what a run is bound to, and what was found out once for all of its starts.

Read and written here alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter

from erde_nas.distil.training.compute import Compute
from erde_nas.distil.verdict import Verdict
from erde_nas.errors import UserError
from erde_nas.files import read_json, read_versioned, write_json
from erde_nas.space.findings import STRICT

FILE = "manifest.json"
SCHEMA = 1
OURS = {"hashes", "identity", "timings_s"}  # keys by which a manifest is told from another program's


@dataclass(frozen=True)
class Probe:
    """What measuring takes here, found before the search by measuring one student: `candidate_s` seconds from an
    architecture to its latency, `process_s` for a fresh process, `call_ms` for one call of the student, other programs
    that it waits for included."""

    candidate_s: float = 1.0
    process_s: float = 0.7
    call_ms: float = 0.2


@dataclass(frozen=True)
class Int8Form:
    """How int8 files are made: see `onnx_files.quantize.Quantization`."""

    weight_bits: Annotated[int, Field(ge=7, le=8)]
    signed: bool


@dataclass(frozen=True)
class Halving:
    """The students that a rung of successive halving took on, for so many epochs."""

    rung: int
    epochs: int
    students: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """`hashes`, one per section of the recipe and of the profiles, and `identity` must not change between starts.

    `timings_s` holds the seconds of every stage over all starts, `overhead_s` those of the search's own work.
    `latency_skipped` are students that were not measured because of a forecast, by profile. A study in a database is at
    `storage`, where this run is known as `search`. `compute` says how the steps of students run,
    `teacher_compute` how those of the teacher did, `teacher` is the digest of its weights. `environment` and `data` are
    for people: nothing reads them.
    """

    __pydantic_config__ = STRICT

    schema: int
    recipe: str
    profiles: Annotated[tuple[str, ...], Field(min_length=1)]
    hashes: Mapping[str, str]
    identity: Mapping[str, str]
    timings_s: Mapping[str, float]
    data_dir: str | None = None
    data: Mapping[str, JsonValue] | None = None
    own_teacher: tuple[str, ...] = ()
    compute: Compute | None = None
    teacher: str = ""
    teacher_compute: Compute | None = None
    reference_ms: Mapping[str, float] | None = None
    probe: Probe | None = None
    int8: Int8Form | None = None
    teacher_check: Verdict | None = None
    overhead_s: float = 0.0
    latency_skipped: Mapping[str, tuple[str, ...]] | None = None
    halving: tuple[Halving, ...] = ()
    storage: str | None = None
    search: str | None = None
    environment: Mapping[str, JsonValue] | None = None
    peak_memory_mb: int | None = None

    def __post_init__(self) -> None:
        if "dataset" not in self.identity:
            raise ValueError("identity lacks the data set's fingerprint")


_MANIFEST = TypeAdapter(Manifest)
LATER = {"teacher file"}  # parts of the identity that earlier versions did not record


def differing(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The parts of what a run is bound to that are not as they were; what was not recorded then cannot differ."""
    known = {key for key in found.keys() | wanted.keys() if key in found or key not in LATER}
    return sorted(key for key in known if found.get(key) != wanted.get(key))


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run: a manifest of this program's, which may be damaged, and not of a comparison."""
    path = folder / FILE
    if not path.is_file():
        return False
    try:
        values = read_json(path)
    except UserError:
        return (folder / "recipe.yaml").is_file()
    keys = values.keys() if isinstance(values, dict) else set()
    return bool(OURS & keys) or ((folder / "recipe.yaml").is_file() and "comparison" not in keys)


def read_manifest(folder: Path) -> Manifest:
    """Raises UserError for a manifest that is damaged, or of another version."""
    return read_versioned(folder / FILE, SCHEMA, _MANIFEST.validate_python)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Keep the manifest; what is not known yet is left out."""
    values = _MANIFEST.dump_python(manifest, mode="json")
    known = (field.name for field in fields(manifest) if getattr(manifest, field.name) != field.default)
    write_json(folder / FILE, {name: values[name] for name in known})
