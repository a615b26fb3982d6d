"""What each exit rule costs in a file: an image leaves at the first of two exits, against a file that ends there.

    python benchmarks/exit_rules.py [OUT.csv]

One thread, ONNX Runtime, fp32, an untrained ResNet for 32×32 images. Blocks of calls of all files are alternated; a
block counts with the median of its calls, a file with the median of its blocks, and the spread is the interquartile
range of the blocks' differences from the file without a rule.
"""

import csv
import sys
import time
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto

from erde_nas.device.exit_rules import exit_rule
from erde_nas.device.machine import describe_machine
from erde_nas.device.runtimes.interface import forced
from erde_nas.device.runtimes.onnxruntime import NestedModel, open_session
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.network import EarlyExitNetwork, keep_exits
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.segments import export_segments
from erde_nas.registry import EXIT_RULES

BLOCKS, CALLS = 60, 300
CLASSES = (10, 100, 1000)


def files(classes: int) -> dict[str, ModelProto]:
    """The first exit alone, and both exits under each rule."""
    torch.manual_seed(0)
    arch = make_arch(
        "resnet",
        image_shape=(3, 32, 32),
        classes=classes,
        stem=8,
        stages=[StageChoice(1, 8), StageChoice(1, 16)],
        exits=[Exit(0, "gap"), Exit(1, "gap")],
    )
    network = EarlyExitNetwork(arch, [0.5] * 3, [0.25] * 3).eval()
    alone = nest(export_segments(keep_exits(network, [0])), [])
    return {"none": alone, **{name: nest(export_segments(network), [0.0], exit_rule(name)) for name in EXIT_RULES}}


def block_us(model: NestedModel, image: np.ndarray, levels: np.ndarray) -> float:
    """Median microseconds of a block's calls."""
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter_ns()
        model.run(image, levels)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1000


def main(out: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    cpu = describe_machine().cpu
    rows = []
    for classes in CLASSES:
        models = {
            name: NestedModel(open_session(model.SerializeToString(), threads=1, device="cpu"))
            for name, model in files(classes).items()
        }
        levels = {name: forced(0, 1 if name == "none" else 2) for name in models}
        blocks = [{name: block_us(model, image, levels[name]) for name, model in models.items()} for _ in range(BLOCKS)]
        for name in models:
            more = np.array([block[name] - block["none"] for block in blocks])
            low, median, high = np.percentile(more, [25, 50, 75])
            total = float(np.median([block[name] for block in blocks]))
            rows.append([cpu, classes, name, f"{total:.2f}", f"{median:.2f}", f"{high - low:.2f}"])
            print(*rows[-1][1:])
    with out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["cpu", "classes", "rule", "call_us", "more_than_no_rule_us", "iqr_us"])
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/results/exit-rules-cpu-1thread-b1.csv"))
