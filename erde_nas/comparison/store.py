"""The folder of a comparison: recipe.yaml, manifest.json, runs/<loss>-<hash>/<seed>/{run.json, logits.npz}.

A run is kept under a hash of its whole `distil` section, so the same loss under two names is trained once.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.files import is_temporary, read_json, write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.recipe import OptimizerSection, Recipe
from erde_nas.run.folder import locked

REVISED = {"mld": "2", "reviewkd": "2", "fcfd": "2"}  # terms whose values changed: runs of before are others
OURS = {".lock", "recipe.yaml", "student.json", "runs"}


@dataclass(frozen=True)
class TrainedStudent:
    """One trained student. Logits are (exits, images, classes) fp16; `failed` says why there are none."""

    loss: str
    seed: int
    macs_per_exit: tuple[int, ...]
    validation: np.ndarray
    test: np.ndarray
    details: dict[str, Any]


def folder_of(out: Path, section: DistilSection, seed: int, training: OptimizerSection | None = None) -> Path:
    """Where the run of one loss and seed is kept. `training`: of its own, where it is not the recipe's."""
    text = section.model_dump_json() + REVISED.get(section.method.term, "")
    text += "" if training is None else training.model_dump_json()
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return out / "runs" / f"{section.loss}-{digest}" / str(seed)


def save_trained(folder: Path, validation: np.ndarray, test: np.ndarray, details: dict[str, Any]) -> None:
    """Keep a finished run; `run.json` is written last, so a folder with it is complete."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, validation=validation.astype(np.float16), test=test.astype(np.float16))

    write_atomic(folder / "logits.npz", write)
    write_json(folder / "run.json", details)


def load_trained(folder: Path, loss: str, seed: int) -> TrainedStudent | None:
    """The run in `folder`, shown as `loss`; None where it is not finished, or failed."""
    if not (folder / "run.json").is_file():
        return None
    details = read_json(folder / "run.json")
    if "failed" in details:
        return None
    try:
        with (folder / "logits.npz").open("rb") as file, np.load(file) as arrays:
            return TrainedStudent(
                loss, seed, tuple(details["macs_per_exit"]), arrays["validation"], arrays["test"], details
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"the run in {folder} is damaged ({error}); remove that folder and run again") from error


@dataclass(frozen=True)
class Manifest:
    """manifest.json: what the comparison stands on, and how a training step runs, which is the same for all runs."""

    path: Path

    def compute(self) -> Compute | None:
        """How steps run, where an earlier call found out."""
        saved = read_json(self.path).get("compute")
        return Compute(**saved) if saved else None

    def keep(self, compute: Compute) -> None:
        """Keep how steps run for later calls."""
        self._add(compute=asdict(compute))

    def record_presets(self, presets: Mapping[str, Any]) -> None:
        """Keep what presets brought, by loss, beside those of earlier calls."""
        if presets:
            self._add(presets={**read_json(self.path).get("presets", {}), **presets})

    def _add(self, **values: Any) -> None:
        write_json(self.path, {**read_json(self.path), **values})


@contextmanager
def open_comparison(out: Path, recipe: Recipe, student: Arch, identity: dict[str, Any]) -> Iterator[Manifest]:
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
        if not (out / "manifest.json").is_file():
            write_json(out / "student.json", student.to_dict())
            write_json(out / "manifest.json", {"schema": 1, "comparison": wanted})
        text = yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)
        write_atomic(out / "recipe.yaml", lambda temporary: temporary.write_text(text))
        yield Manifest(out / "manifest.json")


def _check(out: Path, wanted: dict[str, str]) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    manifest = read_json(out / "manifest.json") if (out / "manifest.json").is_file() else {}
    found = manifest.get("comparison")
    if found is None:
        strangers = sorted(name for name in os.listdir(out) if name not in OURS and not is_temporary(name))
        if strangers:
            raise UserError(f"--out {out} is not empty ({strangers[0]}) and holds no comparison; give a new folder")
        return
    differs = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if differs:
        raise UserError(
            f"--out {out} holds a comparison on other grounds: {', '.join(differs)} differ; give another folder, or "
            "the same recipe, student and data to continue it"
        )
