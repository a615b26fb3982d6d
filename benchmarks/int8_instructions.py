"""int8 with 8-bit and 7-bit weights on CPUs with different instructions: what stays accurate, and how fast it is.

    python benchmarks/int8_instructions.py --files FOLDER --out benchmarks/results/int8-instructions-CONDITIONS.csv

FOLDER gets the files at the first call; take it along to another machine, so that both run the same ones.

Accuracy: a student of each family, three epochs on scikit-learn's digits (1,200 images), tested on the other 597; the
share of images whose class is that of the fp32 file, over all three exits, and the last exit's accuracy. Speed: the two
untrained students of runtimes.py, leaving at the last exit, one image, one thread; blocks of all choices alternate in
one process, the fastest call of a block counts, and the ratio to ONNX Runtime's fp32 is the median over blocks.
`u8s8-8bit-exact` is the 8-bit file with ONNX Runtime's session.x64quantprecision.
"""

import argparse
import csv
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, numpy_helper
from runtimes import fastest, students
from sklearn.datasets import load_digits
from torch.nn import functional

from erde_nas.device.agent.run_job import pin
from erde_nas.device.machine import describe_machine
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting, forced
from erde_nas.device.runtimes.onnxruntime import NestedModel, open_session, run_segments
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.nest import nest, split
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.registry import FAMILIES

CALLS, TRAINED_ON = 10, 1200
FORMS = {
    "u8s8-8bit": Quantization(weight_bits=8),
    "u8s8-7bit": Quantization(weight_bits=7),
    "s8s8-8bit": Quantization(weight_bits=8, signed=True),
}
CHOICES = ("fp32", *FORMS, "u8u8-8bit")
COLUMNS = ("measured", "student", "runtime", "choice", "ratio", "iqr_over_median", "fp32_ms", "same_class", "accuracy")


def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return (data.images * 15.9375).round().astype(np.uint8)[:, None], data.target.astype(np.int64)


def trained(family: str) -> EarlyExitNetwork:
    """A student with three exits after three epochs."""
    stages = [StageChoice(2, 16, 3, 2), StageChoice(1, 32, 5, 2)]
    exits = [Exit(block, head) for block, head in enumerate(("erde", "conv", "gap"))]
    arch = make_arch(family, image_shape=(1, 8, 8), classes=10, stem=8, stages=stages, exits=exits)
    torch.manual_seed(0)
    network = EarlyExitNetwork(arch, [0.3], [0.4]).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    images, labels = (torch.from_numpy(values[:TRAINED_ON]) for values in digits())
    for _ in range(3):
        for chosen in torch.randperm(TRAINED_ON).split(100):
            optimizer.zero_grad()
            sum(functional.cross_entropy(out, labels[chosen]) for out in network(images[chosen])).backward()
            optimizer.step()
    return network.eval()


def with_u8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same numbers with weights 0 to 255 around a zero point of 128, as x86 before VNNI adds them exactly."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            for name in (node.input[0], node.input[2]):
                if tensors[name].data_type == TensorProto.INT8:
                    levels = numpy_helper.to_array(tensors[name]).astype(np.int16) + 128
                    tensors[name].CopyFrom(numpy_helper.from_array(levels.astype(np.uint8), name))
    return model


def write_files(folder: Path) -> None:
    """Every student in every choice, unless they are there."""
    networks = {f"digits-{family}": trained(family) for family in FAMILIES}
    networks |= {name: untrained(arch) for name, arch in students().items()}
    for name, network in networks.items():
        shape = (network.arch.in_channels, network.arch.image_size, network.arch.image_size)
        noise = np.random.Generator(np.random.Philox(0)).integers(0, 256, (32, *shape), dtype=np.uint8)
        images = digits()[0][:100] if shape == (1, 8, 8) else noise
        made = {"fp32": export_segments(network)}
        made |= {choice: quantize_segments(made["fp32"], images, how) for choice, how in FORMS.items()}
        made["u8u8-8bit"] = [with_u8_weights(model) for model in made["u8s8-8bit"]]
        for choice, segments in made.items():
            onnx.save(nest(segments, [0.0] * (len(segments) - 1)), folder / f"{name}.{choice}.onnx")


def untrained(arch: Arch) -> EarlyExitNetwork:
    torch.manual_seed(0)
    return EarlyExitNetwork(arch, [0.5] * arch.in_channels, [0.25] * arch.in_channels).eval()


def accuracies(folder: Path) -> Iterator[dict[str, object]]:
    """Of ONNX Runtime on this machine, against its fp32."""
    images, labels = (values[TRAINED_ON:] for values in digits())
    for family in FAMILIES:
        classes = {}
        for choice in (*CHOICES, "u8s8-8bit-exact"):
            model = onnx.load(folder / f"digits-{family}.{choice.removesuffix('-exact')}.onnx")
            segments = [segment.SerializeToString() for segment in split(model)]
            classes[choice] = run_segments(segments, images, exact=choice.endswith("-exact")).argmax(-1)
        for choice, found in classes.items():
            yield {
                "measured": "accuracy",
                "student": f"digits-{family}",
                "runtime": "onnxruntime",
                "choice": choice,
                "same_class": f"{(found == classes['fp32']).mean():.4f}",
                "accuracy": f"{(found[-1] == labels).mean():.4f}",
            }


def speeds(folder: Path, blocks: int) -> Iterator[dict[str, object]]:
    """Of leaving at the last exit, in both runtimes."""
    for name, arch in students().items():
        image = np.zeros((1, arch.in_channels, arch.image_size, arch.image_size), np.uint8)
        loaded = {}
        for choice in CHOICES:
            file = folder / f"{name}.{choice}.onnx"
            loaded["onnxruntime", choice] = NestedModel(open_session(str(file), threads=1, device="cpu"))
            own = folder / "openvino"
            own.mkdir(exist_ok=True)
            used, setting = runtime("openvino"), Setting(precision="fp32" if choice == "fp32" else "int8")
            paths = used.prepare(DeployableFile(file, None), setting, own)
            loaded["openvino", choice] = used.load([str(path) for path in paths], setting)
        exact = open_session(str(folder / f"{name}.u8s8-8bit.onnx"), threads=1, device="cpu", exact=True)
        loaded["onnxruntime", "u8s8-8bit-exact"] = NestedModel(exact)
        last = forced(len(arch.exits) - 1, len(arch.exits))
        calls = {key: partial(run.run, image, last) for key, run in loaded.items()}
        for call in calls.values():
            fastest(call)
        times = {key: np.array([]) for key in calls}
        for _ in range(blocks):
            for key, call in calls.items():
                times[key] = np.append(times[key], fastest(call))
        base = times["onnxruntime", "fp32"]
        for key, found in times.items():
            low, median, high = np.percentile(found / base, [25, 50, 75])
            yield {
                "measured": "speed",
                "student": name,
                "runtime": key[0],
                "choice": key[1],
                "ratio": f"{median:.3f}",
                "iqr_over_median": f"{(high - low) / median:.3f}",
                "fp32_ms": f"{np.median(base):.4f}",
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--note", default="", help="what a reader must know of this machine")
    options = parser.parse_args()
    options.files.mkdir(parents=True, exist_ok=True)
    if not any(options.files.glob("*.onnx")):
        write_files(options.files)
    pin(1)
    machine = describe_machine()
    versions = {"onnxruntime": onnxruntime.__version__, **runtime("openvino").versions()}
    with options.out.open("w", newline="", encoding="utf-8") as file:
        file.write(
            f"# {machine.cpu}, instructions {' '.join(machine.features)}{options.note and '; ' + options.note}; "
        )
        file.write(f"1 thread, batch 1, load {os.getloadavg()[0]:.1f}; {options.blocks} blocks of {CALLS} calls; ")
        file.write(", ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in (*accuracies(options.files), *speeds(options.files, options.blocks)):
            writer.writerow(row)
            print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
