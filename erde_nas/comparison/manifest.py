"""The folder of a comparison: recipe.yaml, student.json, manifest.json, and runs/, see store.py."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.files import read_json, read_versioned, write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.recipe.recipe import Recipe
from erde_nas.run.folder import locked, refuse_strangers
from erde_nas.run.manifest import differing
from erde_nas.space.findings import STRICT

FILE = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Manifest:
    """What a comparison stands on, as a hash per part; how a training step runs, which is the same for all trainings;
    and what presets brought, by loss."""

    __pydantic_config__ = STRICT

    schema: int
    comparison: Mapping[str, str]
    compute: Compute | None = None
    presets: Mapping[str, Any] = field(default_factory=dict)


_MANIFEST = TypeAdapter(Manifest)


def read_manifest(out: Path) -> Manifest:
    """Raises UserError for a damaged file."""
    return read_versioned(out / FILE, SCHEMA, _MANIFEST.validate_python)


def write_manifest(out: Path, manifest: Manifest) -> None:
    """Keep the manifest; what is not known yet is left out."""
    values = _MANIFEST.dump_python(manifest, mode="json")
    write_json(out / FILE, {key: value for key, value in values.items() if value})


def keep_compute(out: Path, compute: Compute) -> None:
    """Keep how steps run for later calls."""
    write_manifest(out, replace(read_manifest(out), compute=compute))


def keep_presets(out: Path, presets: Mapping[str, Any]) -> None:
    """Keep what presets brought, by loss, beside those of earlier calls."""
    known = read_manifest(out)
    write_manifest(out, replace(known, presets={**known.presets, **presets}))


@contextmanager
def open_comparison(out: Path, recipe: Recipe, student: Arch, identity: Mapping[str, str]) -> Iterator[None]:
    """Create the folder or continue the comparison in it, and hold its lock.

    Losses and seeds may differ between calls. Raises UserError where anything else differs, where the folder holds
    something else, or where another process is at work in it.
    """
    parts = recipe.model_dump(mode="json", include={"dataset", "views", "teacher", "finish"})
    parts["finish"] = parts["finish"]["train"]  # the number of students on a shortlist says nothing here
    parts |= {"seed": recipe.search.seed, "student": student.to_dict(), **identity}
    wanted = {k: hashlib.sha256(json.dumps(v, sort_keys=True).encode()).hexdigest()[:12] for k, v in parts.items()}
    _check(out, wanted)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        if not (out / FILE).is_file():  # first: it marks the folder as ours
            refuse_strangers(out, "comparison")
            write_manifest(out, Manifest(SCHEMA, wanted))
        write_json(out / "student.json", student.to_dict())
        text = yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)
        write_atomic(out / "recipe.yaml", lambda temporary: temporary.write_text(text))
        yield


def _check(out: Path, wanted: dict[str, str]) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if not holds_comparison(out):
        refuse_strangers(out, "comparison")
        return
    differs = differing(read_manifest(out).comparison, wanted)
    if differs:
        raise UserError(
            f"--out {out} holds a comparison on other grounds: {', '.join(differs)} differ; give another folder, or "
            "the same recipe, student and data to continue it"
        )


def holds_comparison(out: Path) -> bool:
    """Whether the folder has a comparison's manifest, which may be damaged."""
    if not (out / FILE).is_file():
        return False
    try:
        values = read_json(out / FILE)
    except UserError:
        return (out / "student.json").is_file()
    return (isinstance(values, dict) and "comparison" in values) or (out / "student.json").is_file()
