"""A network, cut at some places: one module for what is before each, and one for the rest."""

import copy
import warnings
from collections.abc import Sequence

from torch import fx

from erde_nas.networks.own.functional import is_batch


def pieces(graph: fx.GraphModule, nodes: Sequence[fx.Node]) -> list[fx.GraphModule]:
    """Copies of what lies between the input, each of `nodes` in their order, and the logits, in evaluation mode.

    Run one after another they do what `graph` does. Weights that two of them need are in both.
    """
    start = next(node for node in graph.graph.nodes if node.op == "placeholder")
    (end,) = next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes
    ends = [*nodes, end]
    return [_between(graph, first, last) for first, last in zip([start, *nodes], ends, strict=True)]


def _between(graph: fx.GraphModule, first: fx.Node, last: fx.Node) -> fx.GraphModule:
    needed, waiting = {first}, [last]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [] if is_batch(node) else node.all_input_nodes
    part = fx.Graph()
    entry = part.placeholder("x")
    copies = {first: entry}
    for node in graph.graph.nodes:
        if node is first or node not in needed:
            continue
        if is_batch(node):
            copies[node] = part.call_method("size", (entry, 0))
        else:
            copies[node] = part.node_copy(node, lambda given: copies[given])
            copies[node].meta = dict(node.meta)
    part.output(copies[last])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, in its copy of a graph
        return copy.deepcopy(fx.GraphModule(graph, part)).eval()
