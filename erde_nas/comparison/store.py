"""One trained student of a comparison on disk: runs/<loss>-<hash>/<seed>/{run.json, logits.npz}.

It is kept under a hash of its whole `distil` section, so the same loss under two names is trained once.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from pydantic import JsonValue, TypeAdapter

from erde_nas.errors import UserError
from erde_nas.files import problem, read_json, sha256_of, write_atomic, write_json
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.space.findings import STRICT

REVISED = {"mld": "2", "reviewkd": "2", "fcfd": "2"}  # terms whose values changed: runs of before are others


@dataclass(frozen=True)
class TrainingRecord:
    """What run.json says of a training: its loss and options, what came of it, or why it `failed`."""

    __pydantic_config__ = STRICT

    loss: str
    section: Mapping[str, JsonValue]
    seed: int
    train: Mapping[str, JsonValue] | None = None
    macs_per_exit: tuple[int, ...] = ()
    last_loss: float | None = None
    seconds: float | None = None
    failed: str = ""
    logits: str = ""  # the digest of logits.npz; runs of earlier versions have none


_TRAINING = TypeAdapter(TrainingRecord)


@dataclass(frozen=True)
class TrainedStudent:
    """The student as one loss and seed trained it. Logits are (exits, images, classes) fp16."""

    loss: str
    seed: int
    macs_per_exit: tuple[int, ...]
    validation: np.ndarray
    test: np.ndarray


def folder_of(out: Path, section: DistilSection, seed: int, training: OptimizerSection | None = None) -> Path:
    """Where the student of one loss and seed is kept. `training`: of its own, where it is not the recipe's."""
    text = section.model_dump_json() + REVISED.get(section.method.term, "")
    text += "" if training is None else training.model_dump_json()
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return out / "runs" / f"{section.loss}-{digest}" / str(seed)


def save_training(folder: Path, training: TrainingRecord) -> None:
    """Keep what came of a training; what is not known is left out."""
    values = _TRAINING.dump_python(training, mode="json")
    known = (field.name for field in fields(training) if getattr(training, field.name) != field.default)
    write_json(folder / "run.json", {name: values[name] for name in known})


def save_trained(folder: Path, validation: np.ndarray, test: np.ndarray, training: TrainingRecord) -> None:
    """Keep a trained student; `run.json` is written last, so a folder with it is complete."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, validation=validation.astype(np.float16), test=test.astype(np.float16))

    write_atomic(folder / "logits.npz", write)
    save_training(folder, replace(training, logits=sha256_of(folder / "logits.npz")))


def load_trained(folder: Path, loss: str, seed: int) -> TrainedStudent | None:
    """The student in `folder`, shown as `loss`; None where its training is not finished, or failed.

    Raises UserError for a damaged folder.
    """
    if not (folder / "run.json").is_file():
        return None
    try:
        training = _TRAINING.validate_python(read_json(folder / "run.json"))
        if training.failed:
            return None
        if training.logits and sha256_of(folder / "logits.npz") != training.logits:
            raise ValueError("logits.npz is not what was written")
        with (folder / "logits.npz").open("rb") as file, np.load(file) as arrays:
            found = TrainedStudent(loss, seed, training.macs_per_exit, arrays["validation"], arrays["test"])
        for logits in (found.validation, found.test):
            if logits.ndim != 3 or len(logits) != len(found.macs_per_exit):
                raise ValueError(f"logits of shape {logits.shape} for {len(found.macs_per_exit)} exits")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        what = str(error) if isinstance(error, UserError) else problem(error)
        raise UserError(f"the run in {folder} is damaged ({what}); remove that folder and run again") from error
    return found
