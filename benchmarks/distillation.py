"""Losses compared on one student and one teacher, on real CIFAR: what docs/erde.md quotes.

    python benchmarks/distillation.py STUDY --data-dir DIR --work DIR [--small] [--seeds N] [--device cuda]

STUDY is one of STUDIES below. At full size it wants a GPU; `--small` is for two CPU cores: images averaged to 16×16
pixels, small networks, short trainings. It calls `erde-nas distil`, so it continues where it stopped, and copies the
tables to benchmarks/results/distillation-STUDY[-small].{csv,md}.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from erde_nas.data.load import READERS
from erde_nas.recipe import DatasetSection

RESULTS = Path(__file__).parent / "results"

MAIN = ("erde", "kd", "ce")
WHAT_DOES_IT = (
    *("erde", "kd", "ce", "erde:entropy_weight=0", "kd:kd_weight=0.3", "erde:wrong_weight=1", "erde:wrong_weight=0.5"),
    *("erde:entropy_weight=0.5", "erde:entropy_weight=1", "erde:entropy_warmup=0.5", "erde:entropy_exits=early"),
)
WHAT_IMPROVES_IT = (
    *("erde", "kd", "ce", "self", "ea-erde", "erde:term=dkd,dkd_beta=2,kd_warmup=0.1"),
    *(
        "erde:logit_standardisation=true",
        "erde:teacher_exits=last",
        "erde:teacher_exits=nearest",
        "erde:gradient_rescaling=true",
    ),
    *("erde:exit_weights=linear", "erde:self_distillation=ensemble"),
)


@dataclass(frozen=True)
class Study:
    """A teacher, a student, how long both are trained, and the losses; the first loss is the reference."""

    data: str
    teacher: dict[str, Any]
    student: dict[str, Any]
    losses: tuple[str, ...]
    teacher_epochs: int
    epochs: int


TEACHER = {"family": "resnet", "stem": 32, "depths": [3, 3, 3], "widths": [32, 64, 128], "head": "gap"}
STUDENT = {"family": "resnet", "stem": 16, "depths": [1, 1, 1], "widths": [16, 32, 64], "head": "gap"}
ABLATIONS = Study("cifar10", TEACHER, STUDENT, WHAT_DOES_IT, teacher_epochs=100, epochs=60)
STUDIES = {
    "cifar10": replace(ABLATIONS, losses=MAIN),
    "cifar100": replace(ABLATIONS, data="cifar100", losses=MAIN),
    "ablations": ABLATIONS,
    "variants": replace(ABLATIONS, losses=WHAT_IMPROVES_IT),
    "medium-teacher": replace(ABLATIONS, losses=(*MAIN, "erde:entropy_weight=0"), teacher_epochs=10),
    "weak-teacher": replace(ABLATIONS, losses=(*MAIN, "erde:entropy_weight=0"), teacher_epochs=2),
    "ea-kd": Study(
        "cifar100",
        {"model": "resnet32x4", "exits": "last"},
        {"model": "resnet8x4", "exits": "last"},
        ("kd", "ea-kd", "ce"),
        teacher_epochs=120,
        epochs=120,
    ),
}


def small(name: str, study: Study) -> Study:
    """The same question at a size for two CPU cores."""
    teacher_epochs = {"weak-teacher": 1, "medium-teacher": 5}.get(name, 20)
    if name == "ea-kd":  # the same families, a quarter as wide
        teacher = {"family": "resnet", "stem": 8, "depths": [5, 5, 5], "widths": [16, 32, 64], "head": "linear"}
        student = {**teacher, "depths": [1, 1, 1], "exits": "last"}
        return replace(study, teacher={**teacher, "exits": "last"}, student=student, teacher_epochs=8, epochs=8)
    teacher = {**TEACHER, "stem": 16, "widths": [16, 32, 64]}
    student = {**STUDENT, "stem": 8, "widths": [8, 16, 32]}
    return replace(study, teacher=teacher, student=student, teacher_epochs=teacher_epochs, epochs=8)


def main() -> None:
    """Write the recipe, compare, copy the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data-dir", type=Path, required=True, help="where the official binary files are")
    parser.add_argument("--work", type=Path, required=True, help="folder for recipes and runs; kept")
    parser.add_argument("--small", action="store_true", help="at a size for two CPU cores")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    study = small(arguments.study, STUDIES[arguments.study]) if arguments.small else STUDIES[arguments.study]
    name = arguments.study + ("-small" if arguments.small else "")
    arguments.work.mkdir(parents=True, exist_ok=True)
    recipe = arguments.work / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(make_recipe(study, arguments.data_dir, arguments.work, arguments.small)))
    # Ablations and variants share their runs: the same recipe but for the losses.
    out = arguments.work / name.replace("variants", "ablations")
    words = ["distil", str(recipe), "--out", str(out), "--seeds", str(arguments.seeds), "--device", arguments.device]
    words += [] if arguments.small else ["--data-dir", str(arguments.data_dir)]
    losses = [word for loss in study.losses for word in ("--loss", loss)]
    subprocess.run([sys.executable, "-m", "erde_nas.cli", *words, *losses], check=True)
    RESULTS.mkdir(exist_ok=True)
    for suffix in ("csv", "md"):
        shutil.copyfile(out / f"distil.{suffix}", RESULTS / f"distillation-{name}.{suffix}")


def make_recipe(study: Study, data_dir: Path, work: Path, halved: bool) -> dict[str, Any]:
    """The recipe as YAML-ready values; `halved` images are written to `work` first."""
    data: dict[str, Any] = {"name": study.data, "validation": 0.1}
    if halved:
        path = work.resolve() / f"{study.data}-16.npz"
        if not path.is_file():
            halve(study.data, data_dir, path)
        data = {"name": "npz", "path": str(path), "validation": 0.1}
    train = {"batch_size": 256, "learning_rate": 0.2}
    return {
        "name": "distillation",
        "dataset": data,
        "views": {"crop_padding": 2 if halved else 4, "flip": True, "cached_views": min(16, study.epochs)},
        "teacher": {**study.teacher, "train": {**train, "epochs": study.teacher_epochs}},
        "student": study.student,
        "space": {"families": ["resnet"], "depths": [[1]], "widths": [[8]]},
        "train": {**train, "epochs": study.epochs},
        "finish": {"train": {**train, "epochs": study.epochs}},
        "compress": {"train": {**train, "epochs": 1}},
    }


def halve(name: Any, data_dir: Path, path: Path) -> None:
    """Average 2×2 pixels of every image, rounded to nearest, half up."""
    raw = READERS[name](DatasetSection(name=name), data_dir)
    arrays = {}
    for prefix, split in (("train", raw.train), ("test", raw.test)):
        assert split is not None
        n, channels, height, width = split.images.shape
        sums = split.images.astype(np.uint16).reshape(n, channels, height // 2, 2, width // 2, 2).sum((3, 5))
        arrays |= {f"x_{prefix}": ((sums + 2) // 4).astype(np.uint8), f"y_{prefix}": split.labels}
    np.savez(path, **arrays)


if __name__ == "__main__":
    main()
