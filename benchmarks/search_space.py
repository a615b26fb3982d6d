"""A table of every student of a small search space, each trained once: what searchers are compared on (searchers.py).

    python benchmarks/search_space.py [--epochs 2] [--out benchmarks/results/search-space-digits.csv]

The space is the quickstart's with one stem, one kind of head, one expansion and two widths per stage, so that it can be
trained as a whole: 464 architectures with all depths, both families and every placement of up to three exits. The loss
and the teacher are the quickstart's. The digits have their native 8x8 pixels, two epochs of batches of 32 take the
place of five of 64, and more images are held for validation, because 362 rank similar students poorly. One row per
architecture, in a shuffled order; a table that was interrupted is continued. Columns beyond the conditions:

    p.NAME         the parameters; of several ways to write an architecture the first
    epoch_accuracy best exit's validation accuracy after each epoch
    val_accuracy   of the operating point that a search is told: the fewest expected MACs within 0.005 of the best
    latency_ms     expected at that point, from latency_per_exit_ms: fp32, ONNX Runtime, one thread, one image
"""

import argparse
import csv
import os
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from erde_nas import resources
from erde_nas.data.load import load_dataset
from erde_nas.deploy import make_segments, write_file
from erde_nas.hardware import HardwareProfile, load_profile
from erde_nas.machine import describe_machine
from erde_nas.measure.latency import Deployed, Effort, measure
from erde_nas.measure.macs import macs_per_exit, parameter_count
from erde_nas.measure.policy import cheapest_within, operating_curve
from erde_nas.measure.pool import Timing
from erde_nas.progress import Meter
from erde_nas.recipe import Recipe, load_recipe
from erde_nas.records import Choice, Dataset, Split
from erde_nas.shared import Shared, prepare
from erde_nas.space import Space
from erde_nas.students.infer import all_logits
from erde_nas.students.network import EarlyExitNetwork

TABLE = Path(__file__).parent / "results" / "search-space-digits.csv"
BATCH = 16  # students whose latency is measured together
PROCESSES = 1
BLOCKS = 9  # of calls per exit and process
IMAGE_SHAPE, CLASSES = (1, 8, 8), 10
SPACE = {"stems": (8,), "heads": ("gap",), "expansions": (2,), "widths": ((8, 16), (16, 24), (16, 32))}
Params = dict[str, Choice]
Row = dict[str, Any]


def make_recipe(epochs: int) -> Recipe:
    """The quickstart's recipe with a space of 464 architectures."""
    recipe = load_recipe(resources.find("search", "quickstart"))
    return recipe.model_copy(
        update={
            "dataset": recipe.dataset.model_copy(update={"test": 0.05, "validation": 0.4}),
            "space": recipe.space.model_copy(update=SPACE),
            "train": recipe.train.model_copy(update={"epochs": epochs, "batch_size": 32}),
        }
    )


def make_space() -> Space:
    """The space of the table."""
    return Space(make_recipe(1).space, IMAGE_SHAPE, CLASSES)


def architectures(space: Space) -> dict[str, Params]:
    """Every architecture once: its id and the first params that mean it."""
    found: dict[str, Params] = {}
    for values in product(*space.parameters.values()):
        params = dict(zip(space.parameters, values, strict=True))
        found.setdefault(space.identify(params), params)
    return found


def native(split: Split) -> Split:
    """The digits as they were before they were enlarged: (n, 1, 16, 16) -> (n, 1, 8, 8)."""
    cells = split.images.reshape(len(split), 1, 8, 2, 8, 2)
    return replace(split, images=np.rint(cells.mean((3, 5))).astype(np.uint8))


def load_digits(recipe: Recipe) -> Dataset:
    """The digits in their native resolution."""
    dataset = load_dataset(recipe.dataset, None)
    splits = {name: native(getattr(dataset, name)) for name in ("train", "validation", "test")}
    return replace(dataset, **splits, fingerprint=f"{dataset.fingerprint}-8x8")


def train_one(params: Params, space: Space, shared: Shared) -> tuple[EarlyExitNetwork, Row]:
    """A student trained as a search would, and what its training showed."""
    network = shared.build(space.decode(params))
    validation, accuracies = shared.dataset.validation, []

    def after_epoch(done: int, total: int) -> None:
        logits = all_logits(network, validation.images)
        accuracies.append((logits.argmax(-1) == validation.labels).mean(1).max())
        network.train()

    begin = time.perf_counter()
    shared.distil(network, shared.recipe.train, after_epoch)
    seconds = time.perf_counter() - begin
    logits, macs = all_logits(network, validation.images), macs_per_exit(network)
    curve = operating_curve(logits, validation.labels, macs)
    point = cheapest_within(curve, shared.recipe.search.accuracy_tolerance)
    return network, {
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


def latencies(networks: list[EarlyExitNetwork], profile: HardwareProfile, shared: Shared) -> dict[str, Timing]:
    """Milliseconds of leaving at each exit, by the student's id."""
    images = shared.dataset.validation.images
    with TemporaryDirectory() as folder, torch.no_grad():
        files = []
        for network in networks:
            path, exits = Path(folder) / f"{network.arch.id}.onnx", len(network.arch.exits)
            write_file(make_segments(network, ["fp32"], images[:1])["fp32"], [0.0] * (exits - 1), path, {})
            files.append(Deployed(network.arch.id, path, exits))
        return measure(files, profile, images, Effort(PROCESSES, BLOCKS))


def rows_of(batch: list[Params], space: Space, shared: Shared, profile: HardwareProfile) -> list[Row]:
    """The rows of a few architectures, with the conditions."""
    networks, rows = zip(*(train_one(params, space, shared) for params in batch), strict=True)
    timings = latencies(list(networks), profile, shared)
    machine = describe_machine()
    complete = []
    for row in rows:
        timing = timings[row["student"]]
        fractions = map(float, row["exit_fractions"].split())
        complete.append(
            row
            | {
                "latency_ms": round(sum(f * ms for f, ms in zip(fractions, timing.per_exit, strict=True)), 6),
                "latency_per_exit_ms": join(round(ms, 6) for ms in timing.per_exit),
                "latency_iqr_over_median": round(timing.iqr_over_median, 3),
                "epochs": shared.recipe.train.epochs,
                "train_images": len(shared.dataset.train),
                "val_images": len(shared.dataset.validation),
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
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe, space = make_recipe(arguments.epochs), make_space()
    profile = load_profile(resources.find("profiles", "cpu-1thread"))
    dataset = load_digits(recipe)
    with Meter() as meter:
        shared = prepare(
            recipe,
            (profile,),
            dataset,
            torch.device("cpu"),
            meter,
            typical=space.middle(),
            epochs=arguments.epochs,
            known=None,
            on_compute=lambda compute, steps: print(compute),
        )
    done = {row["student"] for row in csv.DictReader(arguments.out.open())} if arguments.out.exists() else set()
    everything = sorted(architectures(space).items())
    random.Random(0).shuffle(everything)
    everything.sort(key=lambda entry: entry[1]["depth2"], reverse=True)  # an unfinished table can hold a whole space
    missing = [params for student, params in everything if student not in done]
    for start in range(0, len(missing), BATCH):
        begin = time.perf_counter()
        rows = rows_of(missing[start : start + BATCH], space, shared, profile)
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
