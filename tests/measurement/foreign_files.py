"""Classifiers of images (3, 16, 16) as other tools leave them, one per kind, each with the input that it takes.

FILES maps a kind to a function that writes it and gives its input for images (n, 3, 16, 16) uint8: what a user of plain
ONNX Runtime would feed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

SHAPE = (3, 16, 16)
CLASSES = 10
FLOAT, HALF, DOUBLE, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16
Feed = Callable[[np.ndarray], np.ndarray]
node = helper.make_node


def unit(images: np.ndarray) -> np.ndarray:
    """What most networks take: pixels from 0 to 1."""
    return images.astype(np.float32) / np.float32(255)


def value(name: str, shape: Sequence[int | str | None] | None, kind: int = FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def held(name: str, array: Any, kind: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array).astype(kind), name)


def noise(name: str, *shape: int, kind: Any = np.float32) -> TensorProto:
    return held(name, np.random.default_rng(0).normal(0, 0.3, shape), kind)


def weights(kind: Any = np.float32) -> list[TensorProto]:
    return [noise("w", 8, 3, 3, 3, kind=kind), noise("v", 8, CLASSES, kind=kind)]


def conv(source: str, target: str = "c", weight: str = "w", stride: int = 2) -> NodeProto:
    return node("Conv", [source, weight], [target], kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)


def tail(source: str, logits: str = "logits") -> list[NodeProto]:
    """(n, 8, h, w) -> logits."""
    return [
        node("GlobalAveragePool", [source], [f"{logits}/p"]),
        node("Flatten", [f"{logits}/p"], [f"{logits}/f"]),
        node("Gemm", [f"{logits}/f", "v"], [logits]),
    ]


BODY = [conv("image"), node("Relu", ["c"], ["r"]), *tail("r")]
LOGITS = [value("logits", ["n", CLASSES])]
PLAIN = [value("image", ["n", *SHAPE])]


def model(
    nodes: Sequence[NodeProto] = BODY,
    inputs: Sequence[ValueInfoProto] = PLAIN,
    outputs: Sequence[ValueInfoProto] = LOGITS,
    tensors: Sequence[TensorProto] | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
    domains: Sequence[str] = (),
    **more: Any,
) -> ModelProto:
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, weights() if tensors is None else tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="user", **more)


def branch(name: str, nodes: Sequence[NodeProto]) -> GraphProto:
    """Its last node's output, of open shape."""
    return helper.make_graph(nodes, name, [], [value(nodes[-1].output[0], None)])


def fixed_reshape() -> ModelProto:
    nodes = [conv("image"), node("Reshape", ["c", "to"], ["f"]), node("Gemm", ["f", "v"], ["logits"])]
    tensors = [noise("w", 8, 3, 3, 3), held("to", [1, 512], np.int64), noise("v", 512, CLASSES)]
    return model(nodes, tensors=tensors)


def static_batch(count: int) -> Callable[[], ModelProto]:
    return lambda: model(inputs=[value("image", [count, *SHAPE])], outputs=[value("logits", [count, CLASSES])])


def own_if(prefix: str) -> Callable[[], ModelProto]:
    """It answers early where it is sure; the late branch uses weights of the graph around it."""
    late = branch("late", [conv("r", "c2", "w2", 1), *tail("c2", "second")])
    nodes = [
        *BODY[:2],
        *tail("r", "l1"),
        node("ReduceMax", ["l1"], ["largest"], keepdims=0),
        node("Greater", ["largest", "threshold"], ["sure"]),
        node(
            "If",
            ["sure"],
            ["logits"],
            then_branch=branch("early", [node("Identity", ["l1"], ["first"])]),
            else_branch=late,
        ),
    ]
    named = []
    for number, made in enumerate(nodes):
        named.append(NodeProto())
        named[-1].CopyFrom(made)
        named[-1].name = f"{prefix}{number}/if" if made.op_type == "If" else f"{prefix}{number}"
    return lambda: model(named, tensors=[*weights(), noise("w2", 8, 8, 3, 3), held("threshold", 0.5)])


def looping() -> ModelProto:
    """The classifier's last features twice through the same convolution, in a Loop."""
    inner = [node("Identity", ["on"], ["still"]), conv("x", "y", "w2", 1)]
    inputs = [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("x", None)]
    body = helper.make_graph(inner, "body", inputs, [value("still", [], TensorProto.BOOL), value("y", None)])
    nodes = [*BODY[:2], node("Loop", ["twice", "", "r"], ["z"], body=body), *tail("z")]
    return model(nodes, tensors=[*weights(), noise("w2", 8, 8, 3, 3), held("twice", 2, np.int64)])


def scanning() -> ModelProto:
    """Rows are summed one after the other, in a Scan."""
    nodes = [node("Add", ["sum", "row"], ["next"]), node("Identity", ["next"], ["seen"])]
    inputs, outputs = [value("sum", [3, 16]), value("row", [3, 16])], [value("next", [3, 16]), value("seen", [3, 16])]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    outer = [
        node("Squeeze", ["image", "first"], ["one"]),
        node("Scan", ["zero", "one"], ["total", "all"], body=body, num_scan_inputs=1, scan_input_axes=[1]),
        node("Reshape", ["total", "to"], ["f"]),
        node("Gemm", ["f", "v"], ["logits"]),
    ]
    tensors = [
        held("first", [0], np.int64),
        held("zero", np.zeros((3, 16))),
        held("to", [1, 48], np.int64),
        noise("v", 48, CLASSES),
    ]
    return model(outer, [value("image", [1, *SHAPE])], [value("logits", [1, CLASSES])], tensors)


def typed(kind: int, numpy_kind: Any) -> Callable[[], ModelProto]:
    """Throughout of one floating type. ONNX Runtime has no convolution in fp64."""
    inputs, outputs = [value("image", ["n", *SHAPE], kind)], [value("logits", ["n", CLASSES], kind)]
    nodes = [node("Flatten", ["image"], ["f"]), node("MatMul", ["f", "v"], ["logits"])]
    return lambda: model(nodes, inputs, outputs, [noise("v", 768, CLASSES, kind=numpy_kind)])


def cast_output(kind: int) -> Callable[[], ModelProto]:
    nodes = [*BODY, node("Cast", ["logits"], ["answer"], to=kind)]
    return lambda: model(nodes, outputs=[value("answer", ["n", CLASSES], kind)])


def cast_input(kind: int) -> Callable[[], ModelProto]:
    nodes = [node("Cast", ["image"], ["x"], to=FLOAT), conv("x"), *BODY[1:]]
    return lambda: model(nodes, [value("image", ["n", *SHAPE], kind)])


def label_first() -> ModelProto:
    nodes = [*BODY, node("ArgMax", ["logits"], ["label"], axis=1, keepdims=1), node("Softmax", ["logits"], ["p"])]
    return model(nodes, outputs=[value("label", ["n", 1], TensorProto.INT64), value("p", ["n", CLASSES])])


def zip_map() -> ModelProto:
    """As scikit-learn's converter: labels, and a list of dictionaries."""
    nodes = [
        *BODY,
        node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
        node("Softmax", ["logits"], ["p"]),
        node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=list(range(CLASSES))),
    ]
    pairs = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    listed = helper.make_value_info("probabilities", helper.make_sequence_type_proto(pairs))
    return model(nodes, outputs=[value("label", ["n"], TensorProto.INT64), listed], domains=["ai.onnx.ml"])


def string_label() -> ModelProto:
    nodes = [
        *BODY,
        node("ArgMax", ["logits"], ["a"], axis=1, keepdims=0),
        node("Cast", ["a"], ["label"], to=TensorProto.STRING),
    ]
    return model(nodes, outputs=[value("label", ["n"], TensorProto.STRING)])


def scalar() -> ModelProto:
    nodes = [*BODY, node("ReduceMax", ["logits"], ["largest"], keepdims=0)]
    return model(nodes, outputs=[value("largest", [])])


def auxiliary_heads() -> ModelProto:
    return model([*BODY, *tail("c", "aux")], outputs=[value("aux", ["n", CLASSES]), *LOGITS])


def whole_image() -> ModelProto:
    """A segmentation: no scores of classes."""
    return model(BODY[:2], outputs=[value("r", ["n", 8, 8, 8])], tensors=weights()[:1])


def pooled() -> ModelProto:
    """Logits (n, 10, 1, 1), as SqueezeNet's."""
    nodes = [*BODY[:2], node("Conv", ["r", "k"], ["m"]), node("GlobalAveragePool", ["m"], ["logits"])]
    tensors = [weights()[0], noise("k", CLASSES, 8, 1, 1)]
    return model(nodes, outputs=[value("logits", ["n", CLASSES, 1, 1])], tensors=tensors)


def ir3() -> ModelProto:
    """Weights among the inputs, as files before IR 4 must have them."""
    listed = [value(tensor.name, tensor.dims) for tensor in weights()]
    return model(inputs=[*listed[:1], *PLAIN, *listed[1:]], opset=11, ir=3)


def with_default() -> ModelProto:
    """A second input that has a default."""
    nodes = [*BODY, node("Div", ["logits", "temperature"], ["cooled"])]
    inputs = [*PLAIN, value("temperature", [])]
    return model(nodes, inputs, [value("cooled", ["n", CLASSES])], [*weights(), held("temperature", 2.0)])


def dynamic_int8() -> ModelProto:
    nodes = [
        node("DynamicQuantizeLinear", ["image"], ["x", "xs", "xz"]),
        node(
            "ConvInteger",
            ["x", "w8", "xz", "wz"],
            ["ci"],
            kernel_shape=[3, 3],
            strides=[2, 2],
            pads=[1] * 4,
        ),
        node("Cast", ["ci"], ["cf"], to=FLOAT),
        node("Mul", ["cf", "xs"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("DynamicQuantizeLinear", ["f"], ["y", "ys", "yz"]),
        node("MatMulInteger", ["y", "v8", "yz"], ["mi"]),
        node("Cast", ["mi"], ["mf"], to=FLOAT),
        node("Mul", ["mf", "ys"], ["logits"]),
    ]
    rng = np.random.default_rng(0)
    tensors = [
        held("w8", rng.integers(-20, 20, (8, 3, 3, 3)), np.int8),
        held("wz", 0, np.int8),
        held("v8", rng.integers(-20, 20, (8, CLASSES)), np.int8),
    ]
    return model(nodes, tensors=tensors)


def static_qdq() -> ModelProto:
    nodes = [
        node("QuantizeLinear", ["image", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        node("DequantizeLinear", ["w8", "ws", "wz"], ["w"]),
        conv("x"),
        *BODY[1:],
    ]
    eight = held("w8", np.random.default_rng(0).integers(-40, 40, (8, 3, 3, 3)), np.int8)
    scales = [held("s", 1 / 255), held("z", 0, np.uint8), held("ws", 0.01), held("wz", 0, np.int8)]
    return model(nodes, tensors=[eight, *scales, weights()[1]])


def contrib() -> ModelProto:
    nodes = [conv("image"), node("Gelu", ["c"], ["r"], domain="com.microsoft"), *tail("r")]
    return model(nodes, domains=["com.microsoft"])


def local_function() -> ModelProto:
    """A function of the file's own, as PyTorch's exporters write them."""
    opsets = [helper.make_opsetid("", 17)]
    body = [node("Mul", ["a", "a"], ["b"])]
    square = helper.make_function("pkg", "Square", ["a"], ["b"], body, opsets)
    nodes = [conv("image"), node("Square", ["c"], ["r"], domain="pkg"), *tail("r")]
    return model(nodes, domains=["pkg"], functions=[square])


def random_answer() -> ModelProto:
    nodes = [*BODY, node("RandomNormalLike", ["logits"], ["e"]), node("Add", ["logits", "e"], ["noisy"])]
    return model(nodes, outputs=[value("noisy", ["n", CLASSES])])


def reshaped(shape: Sequence[int | str | None] | None, to: Sequence[int], order: Sequence[int] = (0, 1, 2, 3)) -> Any:
    """The input of another shape, first brought back to (n, 3, 16, 16)."""
    nodes = [
        node("Reshape", ["image", "to"], ["back"]),
        node("Transpose", ["back"], ["x"], perm=list(order)),
        conv("x"),
        *BODY[1:],
    ]
    return lambda: model(nodes, [value("image", shape)], tensors=[*weights(), held("to", list(to), np.int64)])


def open_size(shape: Sequence[int | str | None] | None) -> Callable[[], ModelProto]:
    """The size of images is open, yet only 16x16 fits the last layer."""
    nodes = [conv("image"), node("Flatten", ["c"], ["f"]), node("Gemm", ["f", "v"], ["logits"])]
    return lambda: model(nodes, [value("image", shape)], tensors=[weights()[0], noise("v", 512, CLASSES)])


def named_like_ours() -> ModelProto:
    """Another's metadata under the names that ours has."""
    made = own_if("route")()
    helper.set_model_props(made, {"classes": "a\nb", "precision": "fp32", "exit_fractions": "1"})
    return made


def last(images: np.ndarray) -> np.ndarray:
    return unit(images).transpose(0, 2, 3, 1)


def of(kind: Any) -> Feed:
    return lambda images: unit(images).astype(kind)


FILES: dict[str, tuple[Callable[[], ModelProto], Feed]] = {
    "plain": (model, unit),
    "fixed-reshape": (fixed_reshape, unit),
    "batch-1": (static_batch(1), unit),
    "own-if": (own_if("node"), unit),
    "route": (own_if("route"), unit),
    "route-and-metadata": (named_like_ours, unit),
    "loop": (looping, unit),
    "scan": (scanning, unit),
    "fp16": (typed(HALF, np.float16), of(np.float16)),
    "fp64": (typed(DOUBLE, np.float64), of(np.float64)),
    "bf16-output": (cast_output(BF16), unit),
    "int64-output": (cast_output(TensorProto.INT64), unit),
    "uint8-input": (cast_input(TensorProto.UINT8), lambda images: images),
    "int64-input": (cast_input(TensorProto.INT64), lambda images: images.astype(np.int64)),
    "int8-input": (cast_input(TensorProto.INT8), lambda images: (images.astype(int) - 128).astype(np.int8)),
    "label-first": (label_first, unit),
    "zip-map": (zip_map, unit),
    "string-label": (string_label, unit),
    "scalar": (scalar, unit),
    "auxiliary-heads": (auxiliary_heads, unit),
    "whole-image": (whole_image, unit),
    "pooled": (pooled, unit),
    "ir-3": (ir3, unit),
    "default": (with_default, unit),
    "dynamic-int8": (dynamic_int8, unit),
    "static-qdq": (static_qdq, unit),
    "contrib": (contrib, unit),
    "local-function": (local_function, unit),
    "random": (random_answer, unit),
    "nhwc": (reshaped(["n", 16, 16, 3], [-1, 16, 16, 3], (0, 3, 1, 2)), last),
    "nhwc-1": (reshaped([1, 16, 16, 3], [-1, 16, 16, 3], (0, 3, 1, 2)), last),
    "flattened": (reshaped(["n", 768], [-1, *SHAPE]), lambda images: unit(images).reshape(len(images), -1)),
    "no-batch": (reshaped(SHAPE, [1, *SHAPE]), lambda images: unit(images)[0]),
    "hwc": (reshaped([16, 16, 3], [1, 16, 16, 3], (0, 3, 1, 2)), lambda images: last(images)[0]),
    "one-row": (reshaped([768], [1, *SHAPE]), lambda images: unit(images).ravel()),
    "symbolic-size": (open_size(["n", 3, "h", "w"]), unit),
    "unnamed": (open_size([None, None, None, None]), unit),
    "no-rank": (open_size(None), unit),
}


def write(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.onnx"
    onnx.save(FILES[kind][0](), path)
    return path
