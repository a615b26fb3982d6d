"""Segments -> one ONNX file with nested `If` nodes, and back.

    image (1, c, h, w) uint8, thresholds (exits - 1,) float32, in the unit of the exit rule's score, with a default
        ->  logits (1, classes), exit_index (1,)

Each branch holds its own initializers: ONNX Runtime optimises a branch only if the weights it uses are in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.device.runtimes.interface import ROUTE
from erde_nas.onnx_files.names import input_name, output_names
from erde_nas.onnx_files.rule_nodes import rule_nodes

Part = TypeVar("Part", NodeProto, TensorProto)
PRODUCER = "erde-nas"  # in the metadata of every file made here
EXIT_RULE = "exit_rule"  # also there, where it is not entropy
AXES = 4  # of features, where the file does not say otherwise


def nest(segments: Sequence[ModelProto], thresholds: Sequence[float], rule: ExitRule = ENTROPY) -> ModelProto:
    """One file of float or quantized segments. `thresholds` are the defaults of the input of that name.

    The file answers one image at a time: an `If` has one condition for the whole batch.
    """
    if len(thresholds) != len(segments) - 1:
        raise ValueError(f"{len(segments)} segments need {len(segments) - 1} thresholds, but got {len(thresholds)}")
    graph = _level(segments, 0, rule)
    first = segments[0].graph.input[0]
    shape = [1, *(d.dim_value for d in first.type.tensor_type.shape.dim[1:])]
    graph.input.append(helper.make_tensor_value_info("image", first.type.tensor_type.elem_type, shape))
    if thresholds:
        graph.input.append(helper.make_tensor_value_info("thresholds", TensorProto.FLOAT, [len(thresholds)]))
        graph.initializer.append(numpy_helper.from_array(np.array(thresholds, np.float32), "thresholds"))
    opsets = {entry.domain: entry.version for segment in segments for entry in segment.opset_import}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=max(segment.ir_version for segment in segments),
        producer_name=PRODUCER,
    )
    if thresholds and rule != ENTROPY:
        helper.set_model_props(model, {EXIT_RULE: rule.record})
    onnx.checker.check_model(model)
    return model


def _level(segments: Sequence[ModelProto], number: int, rule: ExitRule) -> GraphProto:
    """Segment `number` and, inside the `else` of its `If`, all later ones."""
    source = segments[number].graph
    logits = output_names(number, len(segments))[0]
    nodes = [_without_metadata(node) for node in source.node]
    initializers = [_without_metadata(tensor) for tensor in source.initializer]
    classes = source.output[0].type.tensor_type.shape.dim[1].dim_value
    outputs = [
        helper.make_tensor_value_info(f"out{number}/logits", TensorProto.FLOAT, [1, classes]),
        helper.make_tensor_value_info(f"out{number}/exit_index", TensorProto.INT64, [1]),
    ]
    names = [output.name for output in outputs]
    if number == len(segments) - 1:
        nodes += _answer(number, logits, names)
    else:
        branch_names = [f"taken{number}/logits", f"taken{number}/exit_index"]
        taken = helper.make_graph(
            _answer(number, logits, branch_names),
            f"exit{number}",
            [],
            [helper.make_tensor_value_info(branch_names[0], TensorProto.FLOAT, [1, classes]),
             helper.make_tensor_value_info(branch_names[1], TensorProto.INT64, [1])],
        )  # fmt: skip
        condition, constants = _leaves(number, len(segments) - 1, rule)
        nodes += condition
        initializers += constants
        nodes.append(
            helper.make_node(
                "If",
                [f"{ROUTE}{number}/leaves"],
                names,
                name=f"{ROUTE}{number}/if",
                then_branch=taken,
                else_branch=_level(segments, number + 1, rule),
            )
        )
    if number == 0:
        for output, name in zip(outputs, ("logits", "exit_index"), strict=True):
            nodes.append(helper.make_node("Identity", [output.name], [name], name=f"{ROUTE}/{name}"))
            output.name = name
    kept = [value for value in source.output[1:] if _axes(value) != AXES]
    return helper.make_graph(nodes, f"segment{number}", [], outputs, initializers, value_info=kept)


def _axes(value: ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim)


def _answer(number: int, logits: str, names: Sequence[str]) -> list[NodeProto]:
    """Nodes that give the logits and the number of this exit."""
    value = numpy_helper.from_array(np.array([number], np.int64))
    return [
        helper.make_node("Identity", [logits], [names[0]], name=f"{ROUTE}{number}/logits"),
        helper.make_node("Constant", [], [names[1]], value=value, name=f"{ROUTE}{number}/index"),
    ]


def _leaves(number: int, early_exits: int, rule: ExitRule) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes and constants of the exit rule: score < thresholds[number], as one boolean.

    In few nodes, since each costs a small student a share of its time: a single threshold need not be picked.
    """
    at = f"{ROUTE}{number}"
    threshold, nodes, constants = "thresholds", [], []
    if early_exits > 1:
        threshold = f"{at}/threshold"
        nodes.append(helper.make_node("Gather", ["thresholds", f"{at}/number"], [threshold], axis=0))
        constants.append(numpy_helper.from_array(np.array(number, np.int64), f"{at}/number"))
    scored = rule_nodes(rule.graph_at(number, single=True), f"{at}/", number)
    nodes += [*scored.nodes, helper.make_node("Less", [scored.score, threshold], [f"{at}/leaves"])]
    for node in nodes:
        node.name = node.output[0]
    return nodes, [*constants, *scored.constants]


def _without_metadata(part: Part) -> Part:
    """A copy without the exporter's notes: they are half of a small file, and may name places on this machine."""
    copy = type(part)()
    copy.CopyFrom(part)
    del copy.metadata_props[:]
    copy.doc_string = ""
    return copy


def split(model: ModelProto) -> list[ModelProto]:
    """The inverse of `nest`: the segments, with a free batch size. Raises ValueError for other files."""
    levels = [model.graph]
    while branch := _else_branch(levels[-1]):
        levels.append(branch)
    if not made_here(model):
        raise ValueError("it has no exit decisions as erde-nas makes them")
    return [_segment(model, levels, number) for number in range(len(levels))]


def made_here(model: ModelProto) -> bool:
    """Whether `nest` made the file. What others make may have an `If` and nodes of any name."""
    return model.producer_name == PRODUCER and any(node.name.startswith(ROUTE) for node in model.graph.node)


def _else_branch(graph: GraphProto) -> GraphProto | None:
    """The later segments: not a branch of the network's own `If`."""
    for node in graph.node:
        if node.op_type == "If" and node.name.startswith(ROUTE):
            return next(attribute.g for attribute in node.attribute if attribute.name == "else_branch")
    return None


def _segment(model: ModelProto, graphs: Sequence[GraphProto], number: int) -> ModelProto:
    level, levels = graphs[number], len(graphs)
    nodes = [node for node in level.node if not node.name.startswith(ROUTE)]
    used, made = _names_read(nodes), {name for node in nodes for name in node.output}
    earlier = [name for before in range(number) for name in output_names(before, levels)]
    taken = [name for name in (input_name(0), *reversed(earlier)) if name in used]
    between = partial(_between, model, {value.name: _axes(value) for graph in graphs for value in graph.value_info})
    graph = helper.make_graph(
        nodes,
        f"segment{number}",
        [between(name) for name in sorted(taken, key=lambda name: name.startswith("logits"))],
        [between(name) for name in output_names(number, levels) if name in made],
        [tensor for tensor in level.initializer if tensor.name in used],
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def _between(model: ModelProto, axes: Mapping[str, int], name: str) -> ValueInfoProto:
    """What a segment takes or gives, for any number of images. `axes` are those of features that are no maps."""
    image, logits = (value.type.tensor_type for value in (model.graph.input[0], model.graph.output[0]))
    if name == input_name(0):
        shape: list[int | str | None] = ["batch", *(d.dim_value for d in image.shape.dim[1:])]
        return helper.make_tensor_value_info(name, image.elem_type, shape)
    if name.startswith("logits"):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", logits.shape.dim[1].dim_value])
    shape = ["batch", *[None] * (axes.get(name, AXES) - 1)]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _names_read(nodes: Iterable[NodeProto]) -> set[str]:
    """What the nodes take as inputs, in the branches and loops among them as well."""
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                names |= _names_read(graph.node) | {output.name for output in graph.output}
    return names


def thresholds_of(model: ModelProto) -> tuple[float, ...]:
    """The default thresholds of a nested file; empty where it has one exit."""
    for tensor in model.graph.initializer:
        if tensor.name == "thresholds":
            return tuple(float(value) for value in numpy_helper.to_array(tensor))
    return ()


def exit_rule_of(model: ModelProto) -> str:
    """A nested file's exit rule, as `exit_rule` reads it. Files of earlier versions do not say it: it is entropy."""
    return next((entry.value for entry in model.metadata_props if entry.key == EXIT_RULE), ENTROPY.name)
