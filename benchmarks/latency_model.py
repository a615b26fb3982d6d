"""How well the latency model predicts students that it has not seen: 60 of the digits recipe's space, 60 of cifar10's.

    python benchmarks/latency_model.py [--students 60] [--out benchmarks/results/latency-model-cpu-1thread.csv]

Students are drawn at random, with a fixed seed, and measured untrained under the profile cpu-1thread, as a search
measures candidates: one process, 5 blocks of calls per exit (erde_nas.measurement.candidate_latency). All are measured
once, then all again: what two rounds differ by, no model can predict. A table that was interrupted is continued; a
complete one is only evaluated again. Its header says under which conditions it was measured and, for each space, how
well a model predicts students that it was not fitted to (10 folds). Columns:

    space, student      the recipe whose space it is from; the architecture's id
    roundN_ms           measured: of leaving at each exit, separated by spaces
    roundN_reference_ms what the reference model took in the same process: a search multiplies ratios to it by this
    predicted_ms        by a model that was fitted to round 0 of the other folds

"One reference" in the header: the same ratios, all multiplied by the median of all processes' references.
"""

import argparse
import csv
import io
import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch

from erde_nas.device.machine import describe_machine
from erde_nas.files import write_atomic
from erde_nas.measurement.candidate_latency import QUICK
from erde_nas.measurement.latency import Workload, measure
from erde_nas.measurement.latency_features import segment_features
from erde_nas.measurement.latency_model import PerExit, cross_predict, judge, order
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.profile import load_profile
from erde_nas.recipe.recipe import load_recipe
from erde_nas.space.space import Space

TABLE = Path(__file__).parent / "results" / "latency-model-cpu-1thread.csv"
SHAPES = {"digits": (1, 16, 16), "cifar10": (3, 32, 32)}
CLASSES = 10
PROFILE = "cpu-1thread"
SEED = 0
FEWER = (12, 20, 30)  # of the students, for how the error depends on their number
ROUNDS = 2
COLUMNS = (
    "space",
    "student",
    *(f"round{n}_{what}" for n in range(ROUNDS) for what in ("ms", "reference_ms")),
    "predicted_ms",
)
Row = dict[str, Any]


def draw(name: str, count: int) -> list[EarlyExitNetwork]:
    """Different students of a recipe's space: every parameter but the stem's stride uniform over its choices."""
    space = Space(load_recipe(resources.find("search", name)).space, SHAPES[name], CLASSES)
    generator, found = random.Random(SEED), {}
    while len(found) < count:
        arch = space.decode(
            {k: c[0] if k == "stem_stride" else generator.choice(c) for k, c in space.parameters.items()}
        )
        found.setdefault(arch.id, arch)
    channels = SHAPES[name][0]
    return [EarlyExitNetwork(arch, (0.5,) * channels, (0.25,) * channels) for arch in found.values()]


def measure_missing(
    rows: dict[tuple[str, str], Row], networks: dict[str, list[EarlyExitNetwork]], conditions: list[str], out: Path
) -> None:
    """Fill in one round after the other, saving each measurement."""
    for number in range(ROUNDS):
        for name, drawn in networks.items():
            images = np.random.default_rng(SEED).integers(0, 256, (64, *SHAPES[name]), dtype=np.uint8)
            for network in drawn:
                row = rows.setdefault((name, network.arch.id), {"space": name, "student": network.arch.id})
                if row.get(f"round{number}_ms"):
                    continue
                timing = time_quickly(network, images)
                row[f"round{number}_ms"] = " ".join(f"{ms:.6f}" for ms in timing.per_exit)
                row[f"round{number}_reference_ms"] = f"{timing.per_exit[0] / timing.process_exits[0][0]:.6f}"
                save(rows, conditions, out)
                print(number, name, row["student"], row[f"round{number}_ms"], flush=True)


@torch.no_grad()
def time_quickly(network: EarlyExitNetwork, images: np.ndarray) -> Timing:
    """What erde_nas.measurement.candidate_latency.latency_per_exit times, with more of what it found."""
    with TemporaryDirectory() as folder:
        path, exits = Path(folder) / "fp32.onnx", len(network.segments)
        write_file(make_segments(network, [FP32], images[:1])[FP32], [0.0] * (exits - 1), path, {})
        file = Workload("fp32", DeployableFile(path, network), exits)
        return measure([file], load_profile(resources.find("profiles", PROFILE)), images, QUICK)["fp32"]


def evaluate(rows: dict[tuple[str, str], Row], networks: dict[str, list[EarlyExitNetwork]]) -> list[str]:
    """Fill `predicted_ms`; what to say of each space."""
    findings = []
    references = [float(row[f"round{n}_reference_ms"]) for row in rows.values() for n in range(ROUNDS)]
    common = float(np.median(references))
    for name, drawn in networks.items():
        mine = [rows[name, network.arch.id] for network in drawn]
        first, second = ([np.array(row[f"round{n}_ms"].split(), float) for row in mine] for n in range(ROUNDS))
        features = [segment_features(network) for network in drawn]
        predicted = cross_predict(features, first)
        for row, times in zip(mine, predicted, strict=True):
            row["predicted_ms"] = " ".join(f"{ms:.6f}" for ms in times)
        findings += say(f"{name}, each with its own reference", features, first, second)
        scaled = [
            [ms * common / float(row[f"round{n}_reference_ms"]) for ms, row in zip(times, mine, strict=True)]
            for n, times in enumerate((first, second))
        ]
        findings += say(f"{name}, one reference, as a search measures", features, scaled[0], scaled[1])
    return findings


def say(what: str, features: list[np.ndarray], first: list[np.ndarray], second: list[np.ndarray]) -> list[str]:
    """How well round 0 is predicted by itself and by round 1, and how well from fewer students."""
    predicted = cross_predict(features, first)
    means = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    lines = [
        f"{what}: round 1 against round 0: {compare(second, first)}",
        f"{what}: predictions from round 0 against round 0: {compare(predicted, first)}",
        f"{what}: predictions from round 0 against round 1: {compare(predicted, second)}",
        f"{what}: predictions from both against the mean of both: {compare(cross_predict(features, means), means)}",
    ]
    for n in FEWER:
        fewer = compare(cross_predict(features[:n], first[:n]), first[:n])
        lines.append(f"{what}: predictions from the first {n} of round 0 alone: {fewer}")
    return lines


def compare(predicted: list[PerExit], measured: list[PerExit]) -> str:
    """The figures of one comparison."""
    found, ranks = judge(predicted, measured), order(predicted, measured)
    text = f"n {found.n}, median error {found.median_error:.1%}, 95% of first exits within {found.p95_error:.1%}"
    return text if ranks is None else f"{text}, tau {ranks.tau:.3f} ({ranks.low:.3f} to {ranks.high:.3f})"


def save(rows: dict[tuple[str, str], Row], head: list[str], out: Path) -> None:
    """The table, below its header."""
    text = io.StringIO()
    text.writelines(f"# {line}\n" for line in head)
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    write_atomic(out, lambda temporary: temporary.write_text(text.getvalue()))


def load(out: Path) -> tuple[dict[tuple[str, str], Row], list[str]]:
    """The table as far as it is there, and the conditions under which it was measured."""
    lines = out.read_text().splitlines() if out.exists() else []
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    conditions = [line.removeprefix("# ") for line in lines if line.startswith(f"# {PROFILE}: ")]
    return {(row["space"], row["student"]): row for row in rows}, conditions or [describe_conditions()]


def describe_conditions() -> str:
    """What a table that is begun now is measured with."""
    return (
        f"{PROFILE}: ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}, {describe_machine().cpu}, "
        f"1 thread, batch 1, fp32; 1 process, 5 blocks a round; niceness {os.nice(0)}; "
        f"load average {os.getloadavg()[0]:.2f}"
    )


def main() -> None:
    """Measure what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = {name: draw(name, arguments.students) for name in SHAPES}
    rows, conditions = load(arguments.out)
    measure_missing(rows, networks, conditions, arguments.out)
    findings = evaluate(rows, networks)
    save(rows, [*conditions, *findings], arguments.out)
    print("\n".join(findings))


if __name__ == "__main__":
    main()
