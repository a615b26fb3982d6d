"""The same two students in every runtime and precision: time of leaving at each exit, relative to ONNX Runtime in fp32.

    python benchmarks/runtimes.py --out benchmarks/results/runtimes-CONDITIONS.csv

One image, one thread, untrained weights (latency does not depend on them). Blocks of all runtimes alternate in one
process; of a block counts the fastest call, so that being interrupted on a busy machine does not; the ratio is the
median over blocks. `openvino-segments` is OpenVINO with one compiled model per segment instead of the nested file.
"""

import argparse
import csv
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from erde_nas.device.agent.run_job import pin
from erde_nas.device.machine import describe_machine
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Runner, Setting, forced
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.quantize import quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.registry import RUNTIMES

CALLS, BASE = 10, ("onnxruntime", "fp32")
COLUMNS = ("student", "runtime", "precision", "exit", "ratio", "iqr_over_median", "onnxruntime_fp32_ms")


def students() -> dict[str, Arch]:
    """One as the digits recipe finds them, and a ResNet-20 with exits after its blocks 2 and 5."""
    small = [StageChoice(1, 16), StageChoice(2, 32)]
    large = [StageChoice(3, 16), StageChoice(3, 32), StageChoice(3, 64)]
    exits = [Exit(block, "erde") for block in (2, 5, 8)]
    return {
        "digits-16x16": make_arch(
            "resnet",
            image_shape=(1, 16, 16),
            classes=10,
            stem=16,
            stages=small,
            exits=[Exit(0, "gap"), Exit(2, "gap")],
        ),
        "resnet20-32x32": make_arch("resnet", image_shape=(3, 32, 32), classes=10, stem=16, stages=large, exits=exits),
    }


def runners(network: EarlyExitNetwork, folder: Path, names: list[str]) -> Iterator[tuple[tuple[str, str], Runner]]:
    """Every runtime that is wanted, in each of its precisions."""
    arch = network.arch
    images = np.random.Generator(np.random.Philox(0)).integers(
        0, 256, (32, arch.in_channels, arch.image_size, arch.image_size), dtype=np.uint8
    )
    segments = export_segments(network)
    files = {}
    for precision, models in (("fp32", segments), ("int8", quantize_segments(segments, images))):
        files[precision] = folder / f"{precision}.onnx"
        onnx.save(nest(models, [0.0] * (len(models) - 1)), files[precision])
    for name in names:
        used = runtime(name)
        for precision in used.PRECISIONS:
            own = folder / f"{name}-{precision}"
            own.mkdir()
            student = DeployableFile(files.get(precision, files["fp32"]), network)
            setting = Setting(precision=precision)
            yield (name, precision), used.load([str(p) for p in used.prepare(student, setting, own)], setting)
            if name == "openvino":
                own = folder / f"{name}-{precision}-segments"
                own.mkdir()
                paths = student.write_segments(own)
                yield ("openvino-segments", precision), used.load([str(p) for p in paths], setting)


def fastest(call: Callable[[], object]) -> float:
    """Milliseconds of the fastest of a block of calls."""
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begin)
    return min(times) / 1e6


def rows(student: str, arch: Arch, names: list[str], blocks: int) -> Iterator[dict[str, object]]:
    """One row per runtime, precision and exit."""
    network = EarlyExitNetwork(arch, [0.5] * arch.in_channels, [0.25] * arch.in_channels).eval()
    image = np.zeros((1, arch.in_channels, arch.image_size, arch.image_size), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        loaded = dict(runners(network, Path(folder), names))
        for number in range(len(arch.exits)):
            calls = {key: partial(run.run, image, forced(number, len(arch.exits))) for key, run in loaded.items()}
            for call in calls.values():
                fastest(call)
            times = {key: np.empty(blocks) for key in calls}
            for block in range(blocks):
                for key, call in calls.items():
                    times[key][block] = fastest(call)
            for key, found in times.items():
                low, median, high = np.percentile(found / times[BASE], [25, 50, 75])
                yield {
                    "student": student,
                    "runtime": key[0],
                    "precision": key[1],
                    "exit": number,
                    "ratio": f"{median:.3f}",
                    "iqr_over_median": f"{(high - low) / median:.3f}",
                    "onnxruntime_fp32_ms": f"{np.median(times[BASE]):.4f}",
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runtimes", nargs="+", choices=list(RUNTIMES), default=list(RUNTIMES))
    parser.add_argument("--blocks", type=int, default=40)
    options = parser.parse_args()
    names = list(dict.fromkeys([BASE[0], *options.runtimes]))
    pin(1)
    found = {package: version for name in names for package, version in runtime(name).versions().items()}
    versions = ", ".join(f"{package} {version}" for package, version in found.items())
    load = os.getloadavg()[0]
    with options.out.open("w", newline="", encoding="utf-8") as file:
        file.write(
            f"# {describe_machine().cpu}, {platform.machine()}, 1 thread, batch 1, load {load:.1f}; {versions}; "
        )
        file.write(f"{options.blocks} blocks of {CALLS} calls\n")
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for student, arch in students().items():
            for row in rows(student, arch, names, options.blocks):
                writer.writerow(row)
                print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
