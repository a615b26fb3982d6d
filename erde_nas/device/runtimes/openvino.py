"""OpenVINO on the CPU: one image through the nested file, a batch through its segments.

One image: the nested ONNX file with its `If` runs correctly and is the faster way. One compiled model per segment takes
1.1 to 1.4 times as long in fp32 for a ResNet-20 for 32×32 images, 1.4 for a student for 16×16 images, and 1.2 to 1.7
times as long in int8 (benchmarks/results/runtimes-cpu-1thread-b1.csv). Where the features never left OpenVINO's memory
it would still be 1.0 to 1.1 for the former, by a trial without a CSV.

int8 is the file that ONNX Runtime runs: OpenVINO executes its QDQ form as integers, in the branches of an `If` as well.
NNCF's post-training quantization (MINMAX ranges, the same layers) was tried, through ONNX and through OpenVINO's own
format: its files took 0.93 to 1.04 of that file's time at the last exits, were no nearer to fp32, and took 1 to 14 s a
segment to make. It is not used, so that quantization-aware training and layers kept in fp32 serve OpenVINO as well.

The precision is always set: left to itself OpenVINO takes bf16 where the CPU has it. An int8 file is run with fp32 as
its floating-point type: with bf16 its `If` cannot be compiled (OpenVINO 2026.4).

Tensors are bound once and filled in place, because passing arrays to `infer` costs 80 µs a call in Python.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.device.instructions import BF16, Cpu, has
from erde_nas.device.runtimes.compaction import Compacting, Segment, segment_of
from erde_nas.device.runtimes.feed import Feed, ForeignModel, read_feed
from erde_nas.device.runtimes.interface import ROUTE, Deployable, Runner, Setting

PACKAGE = EXTRA = "openvino"
PRECISIONS = ("fp32", "bf16", "int8")
DEVICES = ("cpu",)
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def import_openvino() -> Any:
    """The package, without its telemetry: that is a package of its own, which OpenVINO and NNCF do without."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail
    import openvino

    return openvino


def unfit(setting: Setting, cpu: Cpu) -> str:
    """Why OpenVINO would calculate otherwise there."""
    if setting.precision == "bf16" and not has(BF16, cpu.features):
        return "OpenVINO would calculate in fp32 on this CPU, which has no bf16; use precision: fp32"
    return ""


def versions() -> dict[str, str]:
    """The version of OpenVINO."""
    return {"openvino": version("openvino")}


def prepare(deployable: Deployable, setting: Setting, folder: Path) -> Sequence[Path]:
    """The nested file for one image at a time; its segments, with at most `batch_size` images, for batches. Other
    makes' files as they are, but for the shape of their input."""
    if deployable.feed is not None:
        return deployable.place(folder, deployable.feed.call_shape(setting.batch_size))
    if setting.batch_size == 1:
        return [_adapted(deployable.file, folder / deployable.file.name)]
    return deployable.write_segments(folder)


def _adapted(file: Path, target: Path) -> Path:
    """The nested file as OpenVINO takes it: it takes an input with a default for a constant, so that the thresholds
    lose theirs, and wants the condition of an `If` without dimensions."""
    import onnx

    model = onnx.load(file)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "thresholds"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    _squeeze_conditions(model.graph)
    onnx.save(model, target)
    return target


def _squeeze_conditions(graph: Any) -> None:
    from onnx import helper

    for position, node in enumerate(graph.node):
        if node.op_type == "If" and node.name.startswith(ROUTE):
            condition = node.input[0]
            node.input[0] = f"{condition}/scalar"
            graph.node.insert(position, helper.make_node("Squeeze", [condition], [f"{condition}/scalar"]))
            for attribute in node.attribute:
                _squeeze_conditions(attribute.g)
            return  # a level has one such `If`, and its list has just changed


def load(files: Sequence[str], setting: Setting) -> Runner:
    """The files compiled for `threads` threads. Raises RuntimeError where OpenVINO refuses them."""
    openvino = import_openvino()
    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": HINTS.get(setting.precision, "f32"),
        "INFERENCE_NUM_THREADS": setting.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # the agent is pinned already
    }
    if feed := read_feed(files):
        return _as_foreign(openvino, core.compile_model(core.read_model(files[0]), "CPU", options), feed)
    models = [core.read_model(path) for path in files]
    if setting.batch_size == 1 and len(models) == 1:
        return NestedModel(openvino, core.compile_model(models[0], "CPU", options))
    segments = _segments(openvino, core, models, options, setting.batch_size)
    return Compacting(segments, setting.rule)


class NestedModel:
    """The nested file: one image at a time, in tensors that are bound once."""

    def __init__(self, openvino: Any, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._inputs: dict[str, np.ndarray] = {}
        for port in compiled.inputs:
            self._inputs[port.get_any_name()] = buffer = np.zeros(tuple(port.shape), port.element_type.to_dtype())
            self._request.set_tensor(port, openvino.Tensor(buffer, shared_memory=True))

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One image (1, channels, h, w) uint8 -> logits (1, classes), exit index (1,)."""
        self._inputs["image"][...] = images
        if len(thresholds):
            self._inputs["thresholds"][...] = thresholds
        self._request.infer()
        logits, exit_index = (self._request.get_output_tensor(i).data for i in range(2))
        return logits.copy(), exit_index.copy()  # the next call writes there


def _as_foreign(openvino: Any, compiled: Any, feed: Feed) -> ForeignModel:
    """A classifier of other makes."""
    request, outputs = compiled.create_infer_request(), range(len(compiled.outputs))

    def call(x: Any) -> list[np.ndarray]:
        request.set_input_tensor(0, x)
        request.infer()
        return [request.get_output_tensor(i).data.copy() for i in outputs]

    return ForeignModel(feed, call, lambda array: openvino.Tensor(array, shared_memory=True))


def _segments(openvino: Any, core: Any, models: Sequence[Any], options: dict[str, Any], batch: int) -> list[Segment]:
    """Segments for 1 to `batch` images, as functions of their input."""
    segments: list[Segment] = []
    shapes: dict[str, Any] = {}
    for model in models:
        for port in model.inputs:
            name = port.get_any_name()
            shapes[name] = shapes.get(name, port.partial_shape)
            shapes[name][0] = openvino.Dimension(1, batch)
        model.reshape({port.get_any_name(): shapes[port.get_any_name()] for port in model.inputs})
        shapes |= {port.get_any_name(): port.partial_shape for port in model.outputs}
        segments.append(_as_segment(openvino, core.compile_model(model, "CPU", options)))
    return segments


def _as_segment(openvino: Any, compiled: Any) -> Segment:
    request, outputs = compiled.create_infer_request(), range(len(compiled.outputs))

    def segment(*xs: np.ndarray) -> list[np.ndarray]:
        for number, x in enumerate(xs):
            request.set_input_tensor(number, openvino.Tensor(np.ascontiguousarray(x), shared_memory=True))
        request.infer()
        return [request.get_output_tensor(i).data.copy() for i in outputs]

    return segment_of(segment, [port.get_any_name() for port in compiled.inputs])
