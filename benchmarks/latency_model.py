"""How well the latency model predicts students that it has not seen: 60 of the quickstart's space, 60 of cifar10's.

    python benchmarks/latency_model.py [--students 60] [--out benchmarks/results/latency-model-cpu-1thread.csv]

Students are drawn at random, with a fixed seed, and measured untrained under the profile cpu-1thread, as a search
measures candidates: one process, 5 blocks of calls per exit (erde_nas.quick_latency.latency_per_exit). Each is measured
twice, all of them once before any is measured again: the difference is what no model can predict. The model learns from
the first measurement. A table that was interrupted is continued; a complete one is only evaluated again. Columns:

    space, student  the recipe whose space it is from; the architecture's id
    measured_ms     of leaving at each exit: what the model learns from and is judged by
    again_ms        the same, measured again
    predicted_ms    by a model that was fitted without the student (10 folds)
"""

import argparse
import csv
import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from erde_nas import resources
from erde_nas.files import write_atomic
from erde_nas.hardware import load_profile
from erde_nas.machine import describe_machine
from erde_nas.quick_latency import latency_per_exit
from erde_nas.recipe import load_recipe
from erde_nas.space import Space
from erde_nas.students.network import EarlyExitNetwork

TABLE = Path(__file__).parent / "results" / "latency-model-cpu-1thread.csv"
SHAPES = {"quickstart": (1, 16, 16), "cifar10": (3, 32, 32)}
CLASSES = 10
PROFILE = "cpu-1thread"
SEED = 0
ROUNDS = 5
COLUMNS = ("space", "student", *(f"round{n}_ms" for n in range(ROUNDS)), "predicted_ms")
Row = dict[str, Any]


def draw(name: str, count: int) -> list[EarlyExitNetwork]:
    """Different students of a recipe's space: every parameter uniform over its choices."""
    space = Space(load_recipe(resources.find("search", name)).space, SHAPES[name], CLASSES)
    generator, found = random.Random(SEED), {}
    while len(found) < count:
        arch = space.decode({key: generator.choice(choices) for key, choices in space.parameters.items()})
        found.setdefault(arch.id, arch)
    channels = SHAPES[name][0]
    return [EarlyExitNetwork(arch, (0.5,) * channels, (0.25,) * channels) for arch in found.values()]


def measure_missing(rows: dict[tuple[str, str], Row], networks: dict[str, list[EarlyExitNetwork]], out: Path) -> None:
    """Fill `measured_ms` of all students, then `again_ms`, saving each."""
    profile = load_profile(resources.find("profiles", PROFILE))
    for column in COLUMNS[2:-1]:
        for name, drawn in networks.items():
            images = np.random.default_rng(SEED).integers(0, 256, (64, *SHAPES[name]), dtype=np.uint8)
            for number, network in enumerate(drawn):
                row = rows.setdefault((name, network.arch.id), {"space": name, "student": network.arch.id})
                if row.get(column):
                    continue
                with torch.no_grad():
                    per_exit = latency_per_exit(network, (profile,), images)[PROFILE]
                row[column] = " ".join(f"{ms:.6f}" for ms in per_exit)
                save(rows, out, [])
                print(column, name, number, row[column], flush=True)


def save(rows: dict[tuple[str, str], Row], out: Path, findings: list[str]) -> None:
    """The table, below the conditions and what was found."""
    head = [
        f"{PROFILE}: ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}, {describe_machine().cpu}, "
        f"1 thread, batch 1, fp32; 1 process, 5 blocks; load average {os.getloadavg()[0]:.2f}",
        *findings,
    ]
    text = io.StringIO()
    text.writelines(f"# {line}\n" for line in head)
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    write_atomic(out, lambda temporary: temporary.write_text(text.getvalue()))


def load(out: Path) -> dict[tuple[str, str], Row]:
    """The table as far as it is there."""
    if not out.exists():
        return {}
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    return {(row["space"], row["student"]): row for row in csv.DictReader(lines)}


def main() -> None:
    """Measure what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = {name: draw(name, arguments.students) for name in SHAPES}
    rows = load(arguments.out)
    measure_missing(rows, networks, arguments.out)


if __name__ == "__main__":
    main()
