"""One-shot evaluation against training each candidate: how well it ranks them, and what front it finds in what time.

    python benchmarks/one_shot.py tau    [--scale small|large] [--candidates 20] [--out benchmarks/results]
    python benchmarks/one_shot.py budget --evaluator supernet|train [--scale small|large] [--out benchmarks/results]
    python benchmarks/one_shot.py plot   [--scale small|large] [--out benchmarks/results]

All parts search one Fashion-MNIST space, at one of two scales: `small` has 1,500 training images and trains 56
candidates for 92 steps, the supernet for 230; `large` has 10,000 images of a quarter of the resolution and trains 100
candidates for 312 steps, the supernet for 858.

`tau`: random candidates, each evaluated three times: after a brief training, as a slice of the supernet, and after a
long training from scratch. Writes one-shot-SCALE-tau.csv (a row per candidate) and one-shot-SCALE-tau.md (Kendall's
tau-b between the three with 95 % bootstrap intervals over candidates).

`budget`: a search by NSGA-II for error and MACs that trains each candidate, or that trains a supernet and slices it;
the seed is the same. One-shot evaluation goes on for as long as the other search took, which has to run first. Writes
one-shot-SCALE-budget-EVALUATOR.csv, a row per candidate with the seconds since the start; the training of the supernet
counts, what both share (teacher, its logits) does not. Times are of the process (`cpu_s`, one thread) and of the clock
(`wall_s`); on a machine that does other work, compare the former. `plot` draws the dominated hypervolume over time from
both files and says when one-shot reached the other's last value.
"""

import argparse
import csv
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from search_space import shrunk

from erde_nas.data.dataset import image_shape
from erde_nas.data.load import load_dataset
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.prepare import prepare
from erde_nas.distil.task import Task
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.train import train
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.pareto import hypervolume, non_dominated
from erde_nas.progress.meter import Meter
from erde_nas.rank_correlation import rank_correlation
from erde_nas.recipe.recipe import Recipe
from erde_nas.searching import evaluate
from erde_nas.searching.searchers import make_searcher
from erde_nas.searching.supernet.checkpoint import weights_file
from erde_nas.searching.supernet.evaluator import OneShot
from erde_nas.searching.supernet.subnetworks import Family
from erde_nas.searching.supernet.train import train_family
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial

matplotlib.use("Agg")
RESULTS = Path(__file__).parent / "results"
SCALES: dict[str, dict[str, Any]] = {
    "small": {
        "candidates": 56, "images": 1500, "shrink": 1, "precision": "bf16",
        "views": {"crop_padding": 2, "flip": True, "cached_views": 4},
        "batch": 64, "brief": 4, "supernet": 10, "full": 10, "loss": "erde",
    },
    "large": {
        "candidates": 100, "images": 10_000, "shrink": 4, "views": {"cached_views": 1}, "precision": "fp32",
        "batch": 128, "brief": 4, "supernet": 11, "full": 16, "loss": "kd+entropy",
    },
}  # fmt: skip  # trainings in epochs
REFERENCE_ERROR = 0.4  # of the hypervolume; its other end: the MACs of the largest network, an exit on every block


def make_recipe(scale: dict[str, Any]) -> Recipe:
    """The recipe of one of the SCALES."""

    def train(epochs: int) -> dict[str, Any]:
        return {"epochs": epochs, "batch_size": scale["batch"], "learning_rate": 0.1}

    recipe = {
        "name": "one-shot",
        "dataset": {"name": "fashion-mnist", "train_limit": scale["images"], "validation": 0.4},
        "views": scale["views"],
        "teacher": {
            "stem": 16, "depths": (2, 2, 2), "widths": (16, 32, 64), "head": "erde",
            "train": {"epochs": 8, "learning_rate": 0.1},
        },
        "space": {
            "families": ("resnet",), "stems": (8,), "depths": ((1,), (1, 2), (1, 2)),
            "widths": ((8,), (16, 24, 32), (24, 32, 48)), "heads": ("erde", "gap", "conv"), "max_exits": 3,
        },
        "distil": {"loss": scale["loss"]},
        "train": train(scale["brief"]),
        "search": {"searcher": "nsga2", "population": 8, "objectives": ("error", "macs"), "evaluator": "supernet"},
        "supernet": {"train": train(scale["supernet"]), "random": 1, "norm_images": 512},
        "finish": {"train": train(scale["full"])},
        "compress": {"train": {"epochs": 1}},
    }  # fmt: skip
    return Recipe.model_validate(recipe, strict=True)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("tau", "budget", "plot"))
    parser.add_argument("--scale", choices=tuple(SCALES), default="large")
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--evaluator", choices=("supernet", "train"), default="supernet")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scale, stem = SCALES[arguments.scale], str(arguments.out / f"one-shot-{arguments.scale}")
    if arguments.part == "tau":
        tau(stem, scale, arguments.candidates or 20)
    elif arguments.part == "budget":
        budget(stem, scale, arguments.evaluator, arguments.candidates or scale["candidates"])
    else:
        plot(stem)


def make_shared(scale: dict[str, Any]) -> tuple[TrainingContext, Space]:
    """Data, teacher and space of both parts; no profile, so that no latency is measured."""
    torch.set_num_threads(1)
    recipe = make_recipe(scale)
    dataset = shrunk(load_dataset(recipe.dataset, None), scale["shrink"])
    space = Space(recipe.space, image_shape(dataset), len(dataset.classes))
    with Meter() as meter:
        task = Task(recipe, (), dataset, torch.device("cpu"))
        known = Compute(scale["precision"], 1, 0.05)
        context = prepare(task, meter, typical=space.middle(), epochs=16, known=known)
    return context, space


def tau(stem: str, scale: dict[str, Any], count: int) -> None:
    """Random candidates by three evaluations."""
    context, space = make_shared(scale)
    generator, family = np.random.default_rng(1), Family(space, "resnet")
    archs = {arch.id: arch for arch in (family.random(generator) for _ in range(2 * count))}
    with tempfile.TemporaryDirectory() as folder:
        train_family(family, context, weights_file(Path(folder), "resnet"), say("supernet"))
        ways = {"brief": evaluate.train_briefly, "one_shot": OneShot(Path(folder)), "full": train_fully}
        rows: list[dict[str, Any]] = []
        for number, arch in enumerate(list(archs.values())[:count]):
            row: dict[str, Any] = {"candidate": arch.id, "exits": len(arch.exits)}
            for name, make in ways.items():
                begin = time.process_time()
                trial, _ = evaluate.evaluate(Proposal({}), arch, number, context, make)
                row |= {name: accuracy(trial), f"{name}_cpu_s": round(time.process_time() - begin, 2)}
                row |= {"macs": trial.judged.macs_per_exit[-1]} if trial.judged else {}
            rows.append(row)
            print(f"{number + 1}/{count}: {row}", flush=True)
            write(Path(f"{stem}-tau.csv"), rows)
    Path(f"{stem}-tau.md").write_text(tau_table(rows))


def train_fully(arch: Arch, context: TrainingContext) -> EarlyExitNetwork:
    """From scratch as long as `finish.train` says, with another order and other first weights than the brief one."""
    network = context.build(arch, repetition=1)
    train(context.training(network, context.recipe.finish.train, repetition=1))
    return network


def accuracy(trial: Trial) -> float:
    """On validation, at the most accurate thresholds; NaN for a failed candidate."""
    return round(trial.judged.best_accuracy, 5) if trial.judged else float("nan")


def tau_table(rows: list[dict[str, Any]]) -> str:
    """The three rank correlations, and what an evaluation costs."""
    lines = ["| accuracy | and accuracy | Kendall's tau-b | 95 % interval | candidates |", "|---|---|---|---|---|"]
    for one, other in (("brief", "full"), ("one_shot", "full"), ("brief", "one_shot")):
        found = rank_correlation([row[one] for row in rows], [row[other] for row in rows])
        if found is not None:
            lines.append(f"| {one} | {other} | {found.tau:.2f} | {found.low:.2f} to {found.high:.2f} | {found.n} |")
    lines += ["", "| evaluation | mean accuracy | median CPU s |", "|---|---|---|"]
    for name in ("brief", "one_shot", "full"):
        mean = np.nanmean([row[name] for row in rows])
        lines.append(f"| {name} | {mean:.4f} | {np.median([row[f'{name}_cpu_s'] for row in rows]):.1f} |")
    return "\n".join(lines) + "\n"


def budget(stem: str, scale: dict[str, Any], way: str, count: int) -> None:
    """One search; what is measured is written after every candidate."""
    context, space = make_shared(scale)
    rows: list[dict[str, Any]] = []
    front, largest = np.empty((0, 2)), max(exit_macs(arch)[-1] for arch in Family(space, "resnet").covering())
    trained = Path(f"{stem}-budget-train.csv")
    seconds = read(trained)[0][-1] if way == "supernet" and trained.exists() else 0.0
    clock, make = Clock(), evaluate.train_briefly
    with tempfile.TemporaryDirectory() as folder:
        if way == "supernet":
            train_family(Family(space, "resnet"), context, weights_file(Path(folder), "resnet"), say(way))
            make = OneShot(Path(folder))
            rows.append({"candidate": "", **clock.row(), "hypervolume": 0.0})
        searcher = make_searcher("nsga2", space, objectives=2, seed=context.recipe.search.seed)
        for number in itertools.count():
            if number >= count and clock.row()["cpu_s"] >= seconds:
                return
            proposal = searcher.ask()
            trial, _ = evaluate.evaluate(proposal, space.decode(proposal.params), number, context, make)
            searcher.tell(trial)
            row = {"candidate": trial.student, **clock.row()}
            if trial.state == "complete":
                front = np.vstack([front, [(1 - accuracy, macs) for accuracy, macs in trial.judged.curve]])
                front = front[non_dominated(front)]
                row |= dict(zip(("error", "macs"), trial.objectives, strict=True))
            rows.append(row | {"hypervolume": round(volume(front, largest), 5)})
            print(f"{way} {number + 1}: {rows[-1]}", flush=True)
            write(Path(f"{stem}-budget-{way}.csv"), rows)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def row(self) -> dict[str, float]:
        """Of the process and of the clock on the wall."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2)}


def plot(stem: str) -> None:
    """The figure, and when one-shot evaluation reached what training each candidate ended with."""
    curves = {way: read(Path(f"{stem}-budget-{way}.csv")) for way in ("train", "supernet")}
    figure, axes = plt.subplots(figsize=(6, 4))
    for way, label in (("train", "each candidate trained"), ("supernet", "slices of a supernet")):
        seconds, volumes = curves[way]
        axes.step([0, *seconds], [0, *volumes], where="post", label=label)
        print(f"{way}: hypervolume {volumes[-1]:.4f} after {seconds[-1]:.0f} CPU s")
    axes.set(xlabel="CPU seconds of one thread", ylabel="hypervolume (share of the box)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(f"{stem}-budget.png", dpi=120, bbox_inches="tight")
    (seconds, volumes), one_shot = curves["train"], zip(*curves["supernet"], strict=True)
    when = next((second for second, volume in one_shot if volume >= volumes[-1]), None)
    print("one-shot did not reach it" if when is None else f"one-shot reached it in {when / seconds[-1]:.1%}")


def read(path: Path) -> tuple[list[float], list[float]]:
    """CPU seconds and hypervolume of every row."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["cpu_s"]) for row in rows], [float(row["hypervolume"]) for row in rows]


def volume(front: NDArray[np.float64], largest: float) -> float:
    """The share of the box below REFERENCE_ERROR and the `largest` MACs that `front` (n, 2) dominates."""
    return hypervolume(front / (REFERENCE_ERROR, largest), (1.0, 1.0))


def say(what: str) -> Callable[[int, int], None]:
    """Progress as lines."""
    return lambda done, total: print(f"{what} epoch {done}/{total}", flush=True)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows; what a row lacks is empty."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
