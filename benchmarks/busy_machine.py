"""Speed-ups over the teacher on a busy machine against those on a quiet one: two busy processes per core, in turns.

    python benchmarks/busy_machine.py [--rounds 5] [--profile cpu-1thread] [--out FILE.csv]

One row per student: how many times as fast as the digits recipe's teacher it is, quiet and under two kinds of load
(loops that compute, loops that empty the caches), as the median over rounds, and how far the busy medians are from the
quiet one. The networks are untrained: latency does not depend on weights. Each measurement takes six processes.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from repeatability import write_students

from erde_nas.data.dataset import Dataset, image_shape
from erde_nas.data.load import load_dataset
from erde_nas.device.machine import describe_machine
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.write import make_segments, write_file
from erde_nas.progress.meter import Meter
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.profile import load_profile
from erde_nas.recipe.recipe import load_recipe
from erde_nas.space.space import Space

BUSY_PER_CORE = 2
LOADS = {
    "quiet": None,
    "computing": "while True: sum(range(1000))",
    "caches": "import numpy as np\na = np.ones(4_000_000)\nwhile True: a += 1.0",  # 32 MB
}


@contextmanager
def load(name: str, cores: int) -> Iterator[None]:
    """Busy processes until the block ends."""
    program = LOADS[name]
    count = 0 if program is None else BUSY_PER_CORE * cores
    busy = [subprocess.Popen([sys.executable, "-c", program or ""]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def write_teacher(dataset: Dataset, folder: Path) -> Workload:
    """The digits recipe's teacher without its early exits."""
    stages = [StageChoice(2, width) for width in (32, 64, 128)]
    arch = make_arch(
        "resnet",
        image_shape=image_shape(dataset),
        classes=len(dataset.classes),
        stem=32,
        stages=stages,
        exits=[Exit(5, "erde")],
    )
    network = EarlyExitNetwork(arch, dataset.mean, dataset.std).eval()
    path = folder / "teacher.onnx"
    write_file(make_segments(network, [FP32], dataset.validation.images)[FP32], (), path, {})
    return Workload("teacher", DeployableFile(path, network), 1, ((),))


def speed_up(timings: dict[str, Timing], key: str) -> float:
    """The teacher's mean over the student's, as a report says it."""
    return timings["teacher"].streams[0].mean / timings[key].streams[0].mean


def row(key: str, found: dict[str, list[dict[str, Timing]]]) -> dict[str, object]:
    """One student's line of the CSV."""
    factors = {name: [speed_up(timings, key) for timings in rounds] for name, rounds in found.items()}
    medians = {name: float(np.median(values)) for name, values in factors.items()}
    line: dict[str, object] = {"student": key}
    for name, values in factors.items():
        line[f"speed_up_{name}"] = round(medians[name], 3)
        line[f"off_{name}"] = round(medians[name] / medians["quiet"] - 1, 4)
        line[f"worst_{name}"] = round(max(abs(v / medians["quiet"] - 1) for v in values), 4)
        last = [timings[key] for timings in found[name]] + [timings["teacher"] for timings in found[name]]
        line[f"interrupted_{name}"] = round(float(np.median([getattr(t, "interrupted", np.nan) for t in last])), 4)
    return line


def main(arguments: argparse.Namespace) -> None:
    """Measure in turns and write the CSV."""
    profile = load_profile(resources.find("profiles", arguments.profile))
    recipe = load_recipe(resources.find("search", "digits"))
    dataset = load_dataset(recipe.dataset, None)
    space, machine = Space(recipe.space, image_shape(dataset), len(dataset.classes)), describe_machine()
    found: dict[str, list[dict[str, Timing]]] = {name: [] for name in LOADS}
    with Meter() as meter, TemporaryDirectory() as folder:
        meter.plan({"round": float(arguments.rounds)})
        files = [write_teacher(dataset, Path(folder)), *write_students(space, dataset, Path(folder))]
        for number in range(arguments.rounds):
            for name, rounds in found.items():
                with load(name, machine.usable_cores):
                    effort = Effort(profile.measure.processes, profile.measure.blocks)
                    rounds.append(measure(files, profile, dataset.validation.images, effort))
            meter.add("round", 1.0, f"{number + 1}/{arguments.rounds}")
    conditions = {
        "rounds": arguments.rounds,
        "processes": profile.measure.processes,
        "busy_per_core": BUSY_PER_CORE,
        "profile": profile.name,
        "versions": found["quiet"][0]["teacher"].versions,
        "cpu": machine.cpu,
        "cores": machine.usable_cores,
        "quiet_meanwhile": "; ".join(dict.fromkeys(t["teacher"].contention for t in found["quiet"])),
    }
    rows = [{**row(file.key, found), **conditions} for file in files[1:]]
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for line in rows:
        print({key: line[key] for key in list(line)[:13]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="cpu-1thread", metavar="NAME|FILE")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "busy-machine-cpu-1thread.csv")
    main(parser.parse_args())
