"""Losses compared on one student and one teacher, on real CIFAR: what docs/erde.md quotes.

    python benchmarks/distillation.py STUDY --data-dir DIR --work DIR [--small] [--seeds N] [--device cuda]

STUDY is one of STUDIES below. At full size it wants a GPU; `--small` is for two CPU cores: images averaged to 16×16
pixels, small networks, short trainings. It calls `erde-nas distil`, so it continues where it stopped, and copies the
tables to benchmarks/results/distillation-STUDY[-small].{csv,md}.

`ea-kd` is EA-KD's table 2 (arXiv 2311.13621) in its own setting, by `preset: published`: all 50,000 images of
CIFAR-100, 240 epochs, batch 64, steps at 150, 180 and 210, T 4, cross-entropy and KD as 0.1 to 0.9. `--pair TEACHER
STUDENT` takes another column, `--loss` other rows. The teacher is trained as CRD's are, or is theirs: `--teacher
ckpt_epoch_240.pth`. The paper's number is printed at the end; ours is of the last epoch, the public code's of its best.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.data.kind import kind_of
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.published import COMMON, PAIRS, TABLE_2

TEACHER_RATE = 0.05  # at which CRD trains its teachers
RESULTS = Path(__file__).parent / "results"

MAIN = ("erde", "kd", "ce")
EVERYWHERE = "erde:wrong_weight=1"  # KD on all images, and ERDE's entropy where the teacher is wrong
CONFIRMATION = ("kd", "erde", "ce", EVERYWHERE, "erde:entropy_weight=0")
VARIANTS = (
    *("erde", "kd", EVERYWHERE, f"{EVERYWHERE},entropy_adaptive=true", f"{EVERYWHERE},entropy_exits=early"),
    *("erde:entropy_warmup=0.5", "erde:entropy_weight=0.5"),
)
SCREENING = (
    *CONFIRMATION,
    *("erde:wrong_weight=0.5", "erde:entropy_weight=0.5", "kd:kd_weight=0.3", "ea-erde", "self"),
    *("erde:term=dkd,dkd_beta=2,kd_warmup=0.1", "erde:teacher_exits=last", "erde:teacher_exits=nearest"),
    *("erde:gradient_rescaling=true", "erde:exit_weights=linear", "erde:self_distillation=ensemble"),
    *("erde:entropy_warmup=0.5", "erde:entropy_exits=early"),
    *(f"{EVERYWHERE},entropy_weight=0.1", f"{EVERYWHERE},entropy_weight=0.4", f"{EVERYWHERE},entropy_exits=early"),
    *(f"{EVERYWHERE},entropy_adaptive=true", f"{EVERYWHERE},self_distillation=last"),
    f"{EVERYWHERE},self_distillation=last,self_weight=0.3",
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
CIFAR10 = Study("cifar10", TEACHER, STUDENT, MAIN, teacher_epochs=100, epochs=60)
STUDIES = {
    "cifar10": CIFAR10,
    "cifar100": replace(CIFAR10, data="cifar100"),
    "screening": replace(CIFAR10, losses=SCREENING),
    "confirmation": replace(CIFAR10, losses=CONFIRMATION),
    "variants": replace(CIFAR10, losses=VARIANTS),
    "erde-heads": replace(CIFAR10, losses=("kd", EVERYWHERE, "erde", "ce"), student={**STUDENT, "head": "erde"}),
    "medium-teacher": replace(CIFAR10, losses=("ce", EVERYWHERE, "erde"), teacher_epochs=10),
    "weak-teacher": replace(CIFAR10, losses=("kd", "erde", EVERYWHERE), teacher_epochs=2),
    "ea-kd": Study(  # at full size see `published_recipe`
        "cifar100",
        {"model": "resnet32x4", "exits": "last"},
        {"model": "resnet8x4", "exits": "last"},
        ("kd", "ea-kd", "ce"),
        teacher_epochs=240,
        epochs=240,
    ),
}


def small(name: str, study: Study) -> Study:
    """The same question at a size for two CPU cores."""
    teacher_epochs = {"weak-teacher": 1, "medium-teacher": 5}.get(name, 20)
    if name == "ea-kd":  # a quarter as wide, and the teacher three blocks a stage instead of five
        plain = {"family": "resnet", "stem": 8, "widths": [16, 32, 64], "head": "linear", "exits": "last"}
        teacher, student = {**plain, "depths": [3, 3, 3]}, {**plain, "depths": [1, 1, 1]}
        return replace(study, teacher=teacher, student=student, losses=("kd", "ea-kd"), teacher_epochs=6, epochs=6)
    teacher = {**TEACHER, "stem": 16, "widths": [16, 32, 64]}
    student = {**study.student, "stem": 8, "widths": [8, 16, 32]}
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
    parser.add_argument("--pair", nargs=2, metavar=("TEACHER", "STUDENT"), help="ea-kd: another pair of table 2")
    parser.add_argument("--loss", action="append", help="ea-kd: another loss of table 2; repeatable")
    parser.add_argument("--teacher", type=Path, help="ea-kd: the teacher's weights as CRD or mdistiller keep them")
    arguments = parser.parse_args()
    study = small(arguments.study, STUDIES[arguments.study]) if arguments.small else STUDIES[arguments.study]
    name = arguments.study + ("-small" if arguments.small else "")
    whole = arguments.study == "ea-kd" and not arguments.small
    if not whole and (arguments.pair or arguments.loss or arguments.teacher):
        parser.error("--pair, --loss and --teacher belong to ea-kd at full size")
    arguments.work.mkdir(parents=True, exist_ok=True)
    recipe = arguments.work / f"{name}.yaml"
    if whole:
        pair = tuple(arguments.pair or (study.teacher["model"], study.student["model"]))
        study = replace(study, losses=tuple(arguments.loss or study.losses))
        values = published_recipe(pair, study.losses[0], arguments.teacher)
        name += "" if arguments.pair is None else f"-{pair[0]}-{pair[1]}"
    else:
        values = make_recipe(study, arguments.data_dir, arguments.work, arguments.small)
    recipe.write_text(json.dumps(values, indent=1))
    # Screening, confirmation and variants share their runs: the recipe is the same.
    out = arguments.work / name.replace("confirmation", "screening").replace("variants", "screening")
    words = ["distil", str(recipe), "--out", str(out), "--seeds", str(arguments.seeds), "--device", arguments.device]
    words += [] if arguments.small else ["--data-dir", str(arguments.data_dir)]
    losses = [word for loss in study.losses for word in ("--loss", loss)]
    subprocess.run([sys.executable, "-m", "erde_nas.cli", *words, *losses], check=True)
    RESULTS.mkdir(exist_ok=True)
    for suffix in ("csv", "md"):
        shutil.copyfile(out / f"distil.{suffix}", RESULTS / f"distillation-{name}.{suffix}")
    if whole:
        for loss in study.losses:
            print(f"{loss}: EA-KD's table 2 has {TABLE_2[loss][list(PAIRS).index(pair)]} %")


def published_recipe(pair: tuple[str, str], loss: str, weights: Path | None = None) -> dict[str, Any]:
    """EA-KD's setting for a teacher and a student of its table 2, with no number but the preset's."""
    if pair not in PAIRS:
        sys.exit(f"no pair of EA-KD's table 2: {' '.join(pair)}; choose " + ", ".join(map(" ".join, PAIRS)))
    training = {**COMMON, "learning_rate": TEACHER_RATE}
    own = {"train": training} if weights is None else {"checkpoint": str(weights.resolve())}
    return {
        "name": "ea-kd",
        "dataset": {"name": "cifar100", "validation": 0},
        "teacher": {"model": pair[0], "exits": "last", **own},
        "student": {"model": pair[1], "exits": "last"},
        "space": {"families": ["resnet"], "depths": [[1]], "widths": [[8]]},
        "distil": {"loss": loss, "preset": "published"},
        "train": {"epochs": 1},
        "finish": {"train": {}},
        "compress": {"train": {"epochs": 1}},
    }


def make_recipe(study: Study, data_dir: Path, work: Path, halved: bool) -> dict[str, Any]:
    """The recipe as JSON-ready values, which are YAML too; `halved` images are written to `work` first."""
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
    raw = kind_of(name).read(DatasetSection(name=name), data_dir)
    arrays = {}
    for prefix, split in (("train", raw.train), ("test", raw.test)):
        assert split is not None
        n, channels, height, width = split.images.shape
        sums = split.images.astype(np.uint16).reshape(n, channels, height // 2, 2, width // 2, 2).sum((3, 5))
        arrays |= {f"x_{prefix}": ((sums + 2) // 4).astype(np.uint8), f"y_{prefix}": split.labels}
    np.savez(path, **arrays)


if __name__ == "__main__":
    main()
