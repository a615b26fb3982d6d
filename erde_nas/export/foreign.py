"""Any ONNX image classifier -> a deployable file without early exits, so that it can be measured as a baseline.

Its input becomes `image` (1, channels, h, w) uint8, cast to what the model wants; its first output of two dimensions
becomes the logits. The cast takes well under a microsecond per thousand pixels; nothing else is added.
"""

from onnx import ModelProto, TensorProto, ValueInfoProto, compose, helper, inliner, version_converter

from erde_nas.export.names import input_name, output_names
from erde_nas.export.nest import nest

OPSET = 18  # at least: what the exit rule is written in


def as_deployable(model: ModelProto) -> ModelProto:
    """The nested file of one segment. Raises ValueError that says what does not fit."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    if any(entry.domain == "" and entry.version < OPSET for entry in model.opset_import):
        model = version_converter.convert_version(model, OPSET)
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) != 1:
        raise ValueError(f"it must have one input, the images, but has {[value.name for value in inputs]}")
    shape = _image_shape(inputs[0])
    logits = next((value for value in model.graph.output if _rank(value) == 2), None)
    if logits is None:
        found = {value.name: _dimensions(value) for value in model.graph.output}
        raise ValueError(f"it must have an output (batch, classes), but has {found}")
    model = compose.add_prefix(model, "s0/")
    graph = model.graph
    source, answer = f"s0/{inputs[0].name}", f"s0/{logits.name}"
    wanted = inputs[0].type.tensor_type.elem_type
    (target,) = output_names(0, 1)
    graph.node.insert(0, helper.make_node("Cast", [input_name(0)], [source], "s0/cast", to=wanted))
    graph.node.append(helper.make_node("Identity", [answer], [target], "s0/logits"))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info(input_name(0), TensorProto.UINT8, ["batch", *shape]))
    graph.output.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, ["batch", _dimensions(logits)[1]]))
    return nest([model], [])


def _image_shape(value: ValueInfoProto) -> list[int]:
    shape = _dimensions(value)
    if len(shape) != 4 or not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        raise ValueError(
            f"its input '{value.name}' must be (batch, channels, height, width) with a fixed size, but is {shape}; "
            "export it with a fixed image size"
        )
    return [int(size) for size in shape[1:]]


def _dimensions(value: ValueInfoProto) -> list[int | str]:
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in value.type.tensor_type.shape.dim]


def _rank(value: ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim)


def is_quantized(model: ModelProto) -> bool:
    """Whether it computes with 8-bit integers, as far as its own graph says."""
    return any(node.op_type in ("QuantizeLinear", "ConvInteger", "QLinearConv") for node in model.graph.node)
