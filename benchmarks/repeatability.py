"""How well a latency repeats: the same students measured again and again, five processes each time.

    python benchmarks/repeatability.py [--rounds 5] [--profile cpu-1thread] [--out benchmarks/results/...csv]

One row per student: the mean of its stream in units of the reference network, as the median over five processes, its
spread (largest minus smallest over median) over the rounds and over single processes, the same of plain milliseconds,
which is what a benchmark without a reference would report, and how far the measured mean is from the one that is
expected of the cost of each exit. The students are drawn at random from the digits recipe's space; latency does not
depend on weights, so they are not trained, and leave at thresholds that let a half of the images go at each exit.
"""

import argparse
import csv
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from erde_nas.data.dataset import Dataset, image_shape
from erde_nas.data.load import load_dataset
from erde_nas.device.machine import describe_machine
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import entropies
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.progress.meter import Meter
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.profile import HardwareProfile, load_profile
from erde_nas.recipe.recipe import load_recipe
from erde_nas.space.space import Space

PROCESSES = 5
STUDENTS = 4


def write_students(space: Space, dataset: Dataset, folder: Path) -> list[Workload]:
    """Students of different size, each with thresholds that let about half of what arrives leave."""
    generator = random.Random(0)
    networks: list[EarlyExitNetwork] = []
    while len(networks) < STUDENTS:
        arch = space.decode({key: generator.choice(choices) for key, choices in space.parameters.items()})
        if len(arch.exits) > 1:
            networks.append(EarlyExitNetwork(arch, dataset.mean, dataset.std).eval())
    files = []
    for network in networks:
        entropy = entropies(all_logits(network, dataset.validation.images))
        thresholds = tuple(float(np.median(values)) for values in entropy[:-1])
        path = folder / f"{network.arch.id}.onnx"
        write_file(make_segments(network, [FP32], dataset.validation.images)[FP32], thresholds, path, {})
        files.append(Workload(network.arch.id, DeployableFile(path, network), len(entropy), (thresholds,)))
    return files


def spread(values: np.ndarray) -> float:
    """Largest minus smallest, over the median."""
    return float(np.ptp(values) / np.median(values))


def row(key: str, rounds: list[dict[str, Timing]]) -> dict[str, Any]:
    """One student's line of the CSV."""
    timings = [timings[key] for timings in rounds]
    ratios = np.array([[process[0] for process in timing.process_streams] for timing in timings])  # (rounds, processes)
    means = np.array([timing.streams[0].mean for timing in timings])
    expected = np.array([np.dot(timing.streams[0].exit_fractions, timing.per_exit) for timing in timings])
    return {
        "student": key,
        "mean_us": round(1e3 * float(np.median(means)), 1),
        "ratio": round(float(np.median(ratios)), 4),
        "spread_over_rounds": round(spread(np.median(ratios, axis=1)), 4),
        "spread_over_processes": round(spread(ratios.ravel()), 4),
        "spread_of_milliseconds": round(spread(means), 4),
        "measured_over_expected": round(float(np.median(means / expected)), 4),
        "contention": "; ".join(dict.fromkeys(timing.contention for timing in timings if timing.contention)),
    }


def main(arguments: argparse.Namespace) -> None:
    """Measure in rounds and write the CSV."""
    profile: HardwareProfile = load_profile(resources.find("profiles", arguments.profile))
    recipe = load_recipe(resources.find("search", "digits"))
    dataset = load_dataset(recipe.dataset, None)
    space = Space(recipe.space, image_shape(dataset), len(dataset.classes))
    rounds: list[dict[str, Timing]] = []
    with Meter() as meter, TemporaryDirectory() as folder:
        meter.plan({"round": float(arguments.rounds)})
        files = write_students(space, dataset, Path(folder))
        for number in range(arguments.rounds):
            effort = Effort(PROCESSES, profile.measure.blocks)
            rounds.append(measure(files, profile, dataset.validation.images, effort))
            meter.add("round", 1.0, f"{number + 1}/{arguments.rounds}")
    machine = describe_machine()
    conditions = {
        "rounds": arguments.rounds,
        "processes": PROCESSES,
        "profile": profile.name,
        "versions": next(iter(rounds[0].values())).versions,
        "cpu": machine.cpu,
        "cores": machine.usable_cores,
    }
    rows = [{**row(file.key, rounds), **conditions} for file in files]
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for line in rows:
        print({key: line[key] for key in list(line)[:8]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="cpu-1thread", metavar="NAME|FILE")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "repeatability-cpu-1thread.csv")
    main(parser.parse_args())
