"""A table of every student of a small search space, each trained once: what searchers are compared on (searchers.py).

    python benchmarks/search_space.py [--workers 2] [--out benchmarks/results/search-space-fashion-mnist.csv]

The space has one stem, one kind of head, one expansion and two widths per stage, so that it can be trained as a whole:
464 architectures with all depths, two families and every placement of up to three exits. The images are Fashion-MNIST's
with a quarter of their resolution (7x7, means of 4x4 pixels): 10,000 to train on for four epochs and as many for
validation, because what sets architectures apart should be larger than the chance of a training. None is shifted or
mirrored: that makes a training as short as this one end several points lower. The teacher is that of the recipe
`fashion-mnist`. Students are trained side by side, and their latency is measured while none is. One row per
architecture, in a shuffled order; a table that was interrupted is continued. Columns beyond the conditions:

    p.NAME         the parameters; of several ways to write an architecture the first
    epoch_accuracy best exit's accuracy after each epoch on the first 2,000 images for validation
    val_accuracy   of the operating point that a search is told: the fewest expected MACs within 0.005 of the best
    latency_ms     expected at that point, from latency_per_exit_ms: fp32, ONNX Runtime, one thread, one image
"""

import argparse
import csv
import os
import random
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.load import load_dataset
from erde_nas.device.machine import describe_machine
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.prepare import prepare
from erde_nas.distil.task import Task
from erde_nas.distil.training.compute import Compute
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit, parameter_count
from erde_nas.networks.operating_points import cheapest_within, operating_curve
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.progress.meter import Meter
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.profile import load_profile
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.space.space import Space
from erde_nas.space.trial import Choice

TABLE = Path(__file__).parent / "results" / "search-space-fashion-mnist.csv"
BATCH = 16  # students whose latency is measured together
EFFORT = Effort(processes=1, blocks=9)
EPOCHS = 4
CURVE_IMAGES = 2000
SHRINK = 4
IMAGE_SHAPE, CLASSES = (1, 28 // SHRINK, 28 // SHRINK), 10
COMPUTE = Compute("fp32", 1, 0.0)  # the same for all, however busy the machine is
SPACE: dict[str, Any] = {
    "families": ("resnet", "mobilenet"), "stems": (8,), "stem_strides": (1,), "depths": ((1,), (1, 2), (1, 2)),
    "widths": ((8, 16), (16, 24), (16, 32)), "kernels": (3,), "expansions": (2,), "heads": ("gap",), "max_exits": 3,
}  # fmt: skip
Params = dict[str, Choice]
Row = dict[str, Any]
workers: dict[str, Any] = {}  # what each process of the pool has made for itself


def make_recipe() -> Recipe:
    """Fashion-MNIST's recipe with a space of 464 architectures."""
    recipe = load_recipe(resources.find("search", "fashion-mnist"))
    return recipe.model_copy(
        update={
            "dataset": recipe.dataset.model_copy(update={"train_limit": 10_000, "validation": 0.5}),
            "space": recipe.space.model_copy(update=SPACE),
            "train": recipe.train.model_copy(update={"epochs": EPOCHS, "batch_size": 128}),
            "distil": recipe.distil.model_copy(update={"loss": "kd+entropy"}),
            "views": recipe.views.model_copy(update={"crop_padding": 0, "flip": False, "cached_views": 1}),
        }
    )


def make_space() -> Space:
    """The space of the table."""
    return Space(make_recipe().space, IMAGE_SHAPE, CLASSES)


def architectures(space: Space) -> dict[str, Params]:
    """Every architecture once: its id and the first params that mean it."""
    found: dict[str, Params] = {}
    for values in product(*space.parameters.values()):
        params = dict(zip(space.parameters, values, strict=True))
        found.setdefault(space.identify(params), params)
    return found


def shrunk(dataset: Dataset, factor: int) -> Dataset:
    """A lower resolution, by means of `factor` x `factor` pixels."""

    def shrink(split: Split) -> Split:
        n, channels, height, width = split.images.shape
        cells = split.images.reshape(n, channels, height // factor, factor, width // factor, factor)
        return replace(split, images=np.rint(cells.mean((3, 5))).astype(np.uint8))

    splits = {name: shrink(getattr(dataset, name)) for name in ("train", "validation", "test")}
    return replace(dataset, **splits, fingerprint=f"{dataset.fingerprint}-shrunk{factor}")


def make_shared() -> TrainingContext:
    """Data, teacher and its answers, which are cached."""
    torch.set_num_threads(1)
    recipe, space = make_recipe(), make_space()
    with Meter() as meter:
        task = Task(recipe, (), shrunk(load_dataset(recipe.dataset, None), SHRINK), torch.device("cpu"))
        return prepare(task, meter, typical=space.middle(), epochs=EPOCHS, known=COMPUTE)


def start_worker() -> None:
    """In a process of the pool, before its first student."""
    workers["shared"], workers["space"] = make_shared(), make_space()


def train_one(params: Params, folder: Path) -> Row:
    """A student trained as a search would: what its training showed, and its file in `folder`."""
    context: TrainingContext = workers["shared"]
    network = context.build(workers["space"].decode(params))
    validation, accuracies = context.dataset.validation, []

    def after_epoch(done: int, total: int) -> None:
        logits = all_logits(network, validation.images[:CURVE_IMAGES])
        accuracies.append((logits.argmax(-1) == validation.labels[:CURVE_IMAGES]).mean(1).max())
        network.train()

    begin = time.perf_counter()
    context.distil(network, context.recipe.train, after_epoch)
    seconds = time.perf_counter() - begin
    logits, macs = all_logits(network, validation.images), macs_per_exit(network)
    point = cheapest_within(operating_curve(logits, validation.labels, macs), context.recipe.search.accuracy_tolerance)
    with torch.no_grad():
        segments = make_segments(network, [FP32], validation.images[:1])[FP32]
        write_file(segments, [0.0] * (len(macs) - 1), folder / f"{network.arch.id}.onnx", {})
    return {
        "student": network.arch.id,
        **{f"p.{name}": choice for name, choice in params.items()},
        "blocks": len(network.arch.blocks),
        "exits": join(exit_.block for exit_ in network.arch.exits),
        "epoch_accuracy": join(round(float(a), 4) for a in accuracies),
        "exit_accuracy": join(round(float(a), 4) for a in (logits.argmax(-1) == validation.labels).mean(1)),
        "val_accuracy": round(point.accuracy, 5),
        "exit_fractions": join(round(fraction, 5) for fraction in point.exit_fractions),
        "macs": round(point.cost, 1),
        "macs_per_exit": join(macs),
        "params": parameter_count(network),
        "training_s": round(seconds, 2),
    }


def join(values: Iterable[Any]) -> str:
    """Several values in one cell."""
    return " ".join(map(str, values))


def rows_of(batch: list[Params], pool: ProcessPoolExecutor, dataset: Dataset) -> list[Row]:
    """The rows of a few architectures, with the conditions."""
    profile, machine, complete = load_profile(resources.find("profiles", "cpu-1thread")), describe_machine(), []
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = list(pool.map(train_one, batch, [folder] * len(batch)))
        files = [
            Workload(row["student"], DeployableFile(folder / f"{row['student']}.onnx"), len(row["exits"].split()))
            for row in rows
        ]
        timings = measure(files, profile, dataset.validation.images, EFFORT)
    for row in rows:
        timing = timings[row["student"]]
        fractions = map(float, row["exit_fractions"].split())
        complete.append(
            row
            | {
                "latency_ms": round(sum(f * ms for f, ms in zip(fractions, timing.per_exit, strict=True)), 6),
                "latency_per_exit_ms": join(round(ms, 6) for ms in timing.per_exit),
                "latency_iqr_over_median": round(timing.iqr_over_median, 3),
                "epochs": EPOCHS,
                "train_images": len(dataset.train),
                "val_images": len(dataset.validation),
                "profile": profile.name,
                "cpu": machine.cpu,
                "torch": torch.__version__,
                "load_average": round(os.getloadavg()[0], 2),
            }
        )
    return complete


def main() -> None:
    """Train what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    dataset = make_shared().dataset  # with the teacher in the cache, before several processes want it
    done = {row["student"] for row in csv.DictReader(arguments.out.open())} if arguments.out.exists() else set()
    everything = sorted(architectures(make_space()).items())
    random.Random(0).shuffle(everything)
    missing = [params for student, params in everything if student not in done]
    with ProcessPoolExecutor(arguments.workers, get_context("spawn"), start_worker) as pool:
        for start in range(0, len(missing), BATCH):
            begin = time.perf_counter()
            rows = rows_of(missing[start : start + BATCH], pool, dataset)
            new = not arguments.out.exists()
            with arguments.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                if new:
                    writer.writeheader()
                writer.writerows(rows)
            count = len(everything) - len(missing) + start + len(rows)
            print(f"{count}/{len(everything)}, {(time.perf_counter() - begin) / len(rows):.2f} s a student", flush=True)


if __name__ == "__main__":
    main()
