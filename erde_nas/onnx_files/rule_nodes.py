"""An exit rule's graph in text -> nodes, to be put behind a segment's logits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.parser import parse_graph

from erde_nas.device.exit_rules import ExitRule
from erde_nas.onnx_files.names import output_names

EARLIER = re.compile(r"logits\d+")  # what segments call the logits of their exits, see names.py


@dataclass(frozen=True)
class RuleNodes:
    """Nodes and constants that compute `score`, and the logits of earlier exits that they read."""

    nodes: Sequence[NodeProto]
    constants: Sequence[TensorProto]
    score: str
    earlier: tuple[str, ...]


def rule_nodes(text: str, prefix: str, number: int) -> RuleNodes:
    """The graph `text` of an `ExitRule` at exit `number`. Every name inside starts with `prefix`."""
    graph = parse_graph(text)
    inputs, own = [value.name for value in graph.input], output_names(number, number + 1)[0]

    def renamed(name: str) -> str:
        if not name:  # an input that is left out
            return name
        if name == "logits":
            return own
        return name if name in inputs else prefix + name

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    for node in graph.node:
        node.ClearField("domain")  # the parser writes the empty one
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
        node.name = node.output[0]
    earlier = tuple(name for name in inputs if EARLIER.match(name) and name != own)
    return RuleNodes(graph.node, graph.initializer, renamed(graph.output[0].name), earlier)


def with_score(segment: ModelProto, number: int, rule: ExitRule) -> ModelProto:
    """A copy of segment `number`, for any number of images, that gives `score{number}` (n,) as its last output.

    The logits of earlier exits that the rule reads are inputs of it.
    """
    copy, name = ModelProto(), f"score{number}"
    copy.CopyFrom(segment)
    scored = rule_nodes(rule.graph_at(number), f"{name}/", number)
    shape = numpy_helper.from_array(np.array([-1], np.int64), f"{name}/shape")
    copy.graph.node.extend([*scored.nodes, helper.make_node("Reshape", [scored.score, shape.name], [name], name=name)])
    copy.graph.initializer.extend([*scored.constants, shape])
    for earlier in (name for name in scored.earlier if name not in [value.name for value in copy.graph.input]):
        copy.graph.input.append(helper.make_tensor_value_info(earlier, TensorProto.FLOAT, ["batch", None]))
    copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]))
    return copy
