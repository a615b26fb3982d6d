"""Static int8 in ONNX Runtime's QDQ form: u8 activations (s8 on ARM), s8 weights per channel.

Segments are quantized one by one and nested afterwards: `quantize_static` does not look into the branches of an `If`.
Heads stay fp32 unless asked for, because quantizing their batch norms and poolings mostly costs more than it gains.
"""

import logging
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from erde_nas.export.segments import own_names
from erde_nas.runtimes.onnxruntime import SERIOUS


class _Batches(CalibrationDataReader):
    def __init__(self, name: str, images: np.ndarray, size: int) -> None:
        self._batches = iter([{name: images[i : i + size]} for i in range(0, len(images), size)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


ARM = ("aarch64", "arm64")


@dataclass(frozen=True)
class Quantization:
    """What becomes int8: everything but the `heads`, where they are not wanted, and but the nodes `kept` by name; or
    `only` the nodes named there. `signed`: the activations."""

    heads: bool = False
    kept: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    signed: bool = False


def signed_activations(architectures: Sequence[str] = ()) -> bool:
    """Whether s8 activations run faster than u8 ones on all these architectures (empty: this machine's).

    x86's VNNI multiplies u8 by s8; s8 activations ran at 0.6 to 0.7 of the speed of fp32 there. ARM's dot products take
    two s8.
    """
    return all(name in ARM for name in architectures or (platform.machine(),))


def quantize_segments(
    segments: Sequence[ModelProto], images: np.ndarray, how: Quantization | None = None
) -> list[ModelProto]:
    """Quantize the segments, calibrated on `images` (n, channels, h, w) uint8, which run through all of them."""
    how = how or Quantization(signed=signed_activations())
    quantized, x = [], images
    for number, segment in enumerate(segments):
        name = segment.graph.input[0].name
        quantized.append(own_names(_quantize(segment, name, x, how), f"q{number}/"))
        if number + 1 < len(segments):
            x = _session(segment).run(None, {name: x})[-1]
    return quantized


def quantizable(segments: Sequence[ModelProto], how: Quantization) -> list[str]:
    """Names of the convolutions and matrix products that `how` makes int8."""
    nodes = [node for segment in segments for node in segment.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return [node.name for node in nodes if node.name not in how.kept and (how.heads or not _in_head(node))]


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SERIOUS
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _in_head(node: onnx.NodeProto) -> bool:
    return "/head/" in node.name


def _quantize(segment: ModelProto, name: str, x: np.ndarray, how: Quantization) -> ModelProto:
    nodes = segment.graph.node
    if how.only and not any(node.name in how.only for node in nodes):
        return segment
    fixed = segment.graph.input[0].type.tensor_type.shape.dim[0].dim_value  # 0 where any batch will do
    kept = [node.name for node in nodes if node.op_type in ("Cast", "Mul") or (_in_head(node) and not how.heads)]
    kept += [node.name for node in nodes if node.op_type == "Add" and _is_shift(segment, node)]
    kept += [node.name for node in nodes if node.name in how.kept]
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory(prefix="erde-nas-") as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(segment, source)  # given a model in memory, quantize_static would move its weights to a file
        logger.setLevel(logging.ERROR)  # onnxruntime advises pre-processing through the root logger
        try:
            quantize_static(
                str(source),
                str(target),
                _Batches(name, x, fixed or 32),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8 if how.signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                nodes_to_quantize=list(how.only) or None,
                nodes_to_exclude=kept,
            )
        finally:
            logger.setLevel(level)
        return onnx.load(target)


def _is_shift(segment: ModelProto, node: onnx.NodeProto) -> bool:
    """Whether an addition belongs to the input's normalisation: one of its operands is a constant."""
    constants = {tensor.name for tensor in segment.graph.initializer}
    constants |= {output for other in segment.graph.node if other.op_type == "Constant" for output in other.output}
    return any(operand in constants for operand in node.input)
