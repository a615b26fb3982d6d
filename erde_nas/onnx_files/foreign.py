"""What can be read from a classifier of other makes, and its file put where it is run: as it stands, weights beside it.

Two things alone are ever changed. An input or output in bf16, which numpy lacks, gets a Cast to fp32; and for OpenVINO
the shape of the input is filled in, and functions are written out.
"""

import math
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, inliner
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from erde_nas.device.runtimes.feed import Feed, write_feed
from erde_nas.errors import UserError

INTEGER = ("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul")
FLOATS: dict[int, str] = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16", TensorProto.DOUBLE: "fp64"}


def precision_of(model: ModelProto) -> str:
    """int8 where it computes with 8-bit integers, as far as its own graph says; else the type of most weights."""
    operators = {node.op_type for node in _nodes(model)}
    if operators & set(INTEGER) or any(name.startswith("QLinear") for name in operators):
        return "int8"
    sizes = Counter[int]()
    for tensor in _tensors(model):
        sizes[tensor.data_type] += math.prod(tensor.dims)
    floating = {kind: size for kind, size in sizes.items() if kind in FLOATS or kind == TensorProto.FLOAT}
    return FLOATS.get(max(floating, key=lambda kind: floating[kind]), "fp32") if floating else "fp32"


def place(file: Path, feed: Feed, folder: Path, shape: tuple[int, ...] | None = None) -> list[Path]:
    """Copy `file` into `folder`, its external weights with it, and say beside it how it is fed.

    `shape` is written into the file as that of its input.
    """
    target = folder / file.name
    model = onnx.load(file, load_external_data=False)
    if shape is None:
        shutil.copyfile(file, target)
    else:
        model = inliner.inline_local_functions(model) if model.functions else model  # OpenVINO takes none
        (image,) = (value for value in model.graph.input if value.name == feed.name)
        kind = image.type.tensor_type.elem_type
        image.CopyFrom(helper.make_tensor_value_info(image.name, kind, shape))
        onnx.save(model, target)
    copy_weights(model, file.parent, folder)
    return [target, write_feed(feed, folder)]


def copy_weights(model: ModelProto, source: Path, folder: Path) -> None:
    """The files in which the model keeps weights, from beside it to beside its copy."""
    for name in weight_files(model):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def weight_files(model: ModelProto) -> set[str]:
    """The files in which it keeps weights, below its own folder. Raises UserError for one that lies elsewhere: a file
    of a stranger's could name any."""
    found = {ExternalDataInfo(tensor).location for tensor in _tensors(model) if uses_external_data(tensor)}
    for name in sorted(found):
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"it keeps weights in '{name}', outside its own folder; put them beside the model")
    return found


def without_bf16_ends(model: ModelProto) -> bool:
    """Put a Cast to fp32 at every input and output in bf16, in place; whether there was one."""
    graph, held = model.graph, {tensor.name for tensor in model.graph.initializer}
    ends = [value for value in graph.input if value.name not in held and _is_bf16(value)]
    for value in ends:
        _rename(graph, value.name, f"{value.name}/bf16")
        cast = helper.make_node("Cast", [value.name], [f"{value.name}/bf16"], to=TensorProto.BFLOAT16)
        graph.node.insert(0, cast)
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    for value in filter(_is_bf16, graph.output):
        ends.append(value)
        _rename(graph, value.name, f"{value.name}/bf16")
        graph.node.append(helper.make_node("Cast", [f"{value.name}/bf16"], [value.name], to=TensorProto.FLOAT))
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return bool(ends)


def _is_bf16(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.BFLOAT16)


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """One edge, wherever nodes read or write it, in branches and loops as well."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
        for inner in _inner(node):
            _rename(inner, old, new)
            for value in inner.output:
                value.name = new if value.name == old else value.name


def _inner(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in _inner(node):
            yield from _graphs(inner)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for graph in _graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Weights: those of the graph, of its branches and loops, and of Constant nodes."""
    for graph in _graphs(model.graph):
        yield from graph.initializer
    for node in _nodes(model):
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
