"""Static int8 in ONNX Runtime's QDQ form: u8 activations, s8 weights per channel, exit heads in fp32.

Segments are quantized one by one and nested afterwards: `quantize_static` does not look into the branches of an `If`.
Heads stay fp32 because quantizing their batch norms and poolings costs more than it gains.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from erde_nas.export.segments import own_names
from erde_nas.runtimes.onnxruntime import SERIOUS


class _Batches(CalibrationDataReader):
    def __init__(self, name: str, images: np.ndarray) -> None:
        self._batches = iter([{name: images[i : i + 32]} for i in range(0, len(images), 32)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def quantize_segments(segments: Sequence[ModelProto], images: np.ndarray) -> list[ModelProto]:
    """Quantize the segments, calibrated on `images` (n, channels, h, w) uint8, which run through all of them."""
    quantized, x = [], images
    for number, segment in enumerate(segments):
        name = segment.graph.input[0].name
        quantized.append(own_names(_quantize(segment, name, x), f"q{number}/"))
        outputs = _session(segment).run(None, {name: x})
        x = outputs[-1]
    return quantized


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SERIOUS
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _quantize(segment: ModelProto, name: str, x: np.ndarray) -> ModelProto:
    kept = [node.name for node in segment.graph.node if "/head/" in node.name or node.op_type in ("Cast", "Mul")]
    kept += [node.name for node in segment.graph.node if node.op_type == "Add" and _is_shift(segment, node)]
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
                _Batches(name, x),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
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
