"""Static int8 in ONNX Runtime's QDQ form: u8 activations (s8 on ARM), s8 weights per channel.

Weights take 8 bits where the CPU adds the products without loss, and 7 elsewhere: see `erde_nas.device.instructions`.
Segments are quantized one by one and nested afterwards: `quantize_static` does not look into the branches of an `If`.
Heads stay fp32 unless asked for, because quantizing their batch norms and poolings mostly costs more than it gains.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from erde_nas.device.instructions import ARM, EXACT_INT8, Cpu, canonical, exact_int8
from erde_nas.device.machine import this_cpu
from erde_nas.device.runtimes.onnxruntime import SERIOUS, import_onnxruntime
from erde_nas.files import Scratch
from erde_nas.onnx_files.names import MEAN
from erde_nas.onnx_files.segments import own_names

Inputs = dict[str, np.ndarray]  # of a segment, by name: (n, ...) each


class _Batches(CalibrationDataReader):
    def __init__(self, inputs: Inputs, size: int) -> None:
        count = len(next(iter(inputs.values())))
        self._batches = iter([{k: x[i : i + size] for k, x in inputs.items()} for i in range(0, count, size)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


WEIGHT_LIMIT = {8: 127, 7: 64}  # the largest level of a weight, by bits; the least is its negative


@dataclass(frozen=True)
class Quantization:
    """What becomes int8: everything but the `heads`, where they are not wanted, and but the nodes `kept` by name; or
    `only` the nodes named there. `signed`: the activations. `weight_bits`: 8, or the 7 that every CPU multiplies."""

    heads: bool = False
    kept: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    signed: bool = False
    weight_bits: int = 7

    @property
    def instructions(self) -> tuple[str, ...]:
        """Of which a CPU must have one, or its answers are others; none: every CPU will do."""
        return EXACT_INT8 if self.weight_bits == 8 else ()


ON_EVERY_CPU = Quantization()


def suited_to(machines: Sequence[Cpu], architectures: Sequence[str] = ()) -> Quantization:
    """What is right on all of these machines, and on others of the `architectures`, and fast on them.

    8-bit weights only where every one adds their products without loss; of another x86 that is not known. s8
    activations only where all are ARM, whose dot products take two s8; on x86 they are slower than fp32.
    """
    known = {canonical(machine.architecture) for machine in machines}
    allowed = set(map(canonical, architectures))
    exact = all(map(exact_int8, machines)) and allowed - known <= {ARM}
    return Quantization(signed=known | allowed == {ARM}, weight_bits=8 if exact else 7)


def quantize_segments(
    segments: Sequence[ModelProto], images: np.ndarray, how: Quantization | None = None
) -> list[ModelProto]:
    """Quantize the segments, calibrated on `images` (n, channels, h, w) uint8, which run through all of them.

    Without `how`, for this machine.
    """
    how = how or suited_to([this_cpu()])
    quantized: list[ModelProto] = []
    known = {segments[0].graph.input[0].name: images}
    for number, segment in enumerate(segments):
        inputs = {value.name: known[value.name] for value in segment.graph.input}
        quantized.append(own_names(_quantize(segment, inputs, how), f"q{number}/"))
        if number + 1 < len(segments):
            outputs = _session(segment).run(None, inputs)
            known |= zip([value.name for value in segment.graph.output], outputs, strict=True)
    return quantized


def quantizable(segments: Sequence[ModelProto], how: Quantization) -> list[str]:
    """Names of the convolutions and matrix products that `how` makes int8."""
    nodes = [node for segment in segments for node in segment.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return [node.name for node in nodes if node.name not in how.kept and (how.heads or not _in_head(node))]


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = import_onnxruntime().SessionOptions()
    options.log_severity_level = SERIOUS
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _in_head(node: onnx.NodeProto) -> bool:
    return "/head/" in node.name


def _quantize(segment: ModelProto, inputs: Inputs, how: Quantization) -> ModelProto:
    nodes = segment.graph.node
    if how.only and not any(node.name in how.only for node in nodes):
        return segment
    fixed = segment.graph.input[0].type.tensor_type.shape.dim[0].dim_value  # 0 where any batch will do
    kept = [node.name for node in nodes if node.op_type in ("Cast", "Mul") or (_in_head(node) and not how.heads)]
    kept += [node.name for node in nodes if node.op_type == "Add" and _is_shift(segment, node)]
    kept += [node.name for node in nodes if node.name in how.kept or node.name.startswith(MEAN)]
    logger = logging.getLogger()
    level = logger.level
    with Scratch() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(segment, source)  # given a model in memory, quantize_static would move its weights to a file
        logger.setLevel(logging.ERROR)  # onnxruntime advises pre-processing through the root logger
        import_onnxruntime()
        try:
            quantize_static(
                str(source),
                str(target),
                _Batches(inputs, fixed or 32),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8 if how.signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=how.weight_bits == 7,
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
