"""A network, cut at some places: one module for what is before each, and one for the rest."""

import copy
import warnings
from collections.abc import Mapping, Sequence

from torch import fx, nn

from erde_nas.networks.own.functional import is_batch
from erde_nas.networks.own.modules import has, put, tensor_at
from erde_nas.networks.own.narrow import Gone, narrowed

Instead = Mapping[fx.Node, fx.Node]
NOTHING: Instead = {}


def pieces(
    graph: fx.GraphModule, nodes: Sequence[fx.Node], instead: Instead = NOTHING, gone: Gone | None = None
) -> list[fx.GraphModule]:
    """Copies of what lies between the input, each of `nodes` in their order, and the logits, in evaluation mode.

    Run one after another they do what `graph` does. Weights that two of them need are in both. Where a node has another
    one in `instead`, that one is read in its place; layers lack the channels that are `gone`.
    """
    start = next(node for node in graph.graph.nodes if node.op == "placeholder")
    ends = [*nodes, end_of(graph)]
    parts = [between(graph, first, last, instead, gone) for first, last in zip([start, *nodes], ends, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, in its copy of a graph
        return copy.deepcopy(parts)


def end_of(graph: fx.GraphModule) -> fx.Node:
    """The node that makes the logits."""
    (end,) = next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes
    return end


def between(
    graph: fx.GraphModule, first: fx.Node, last: fx.Node, instead: Instead = NOTHING, gone: Gone | None = None
) -> fx.GraphModule:
    """What lies between two nodes; layers that lack nothing are those of `graph`."""

    def read(node: fx.Node) -> fx.Node:
        while node in instead:
            node = instead[node]
        return node

    first, last = read(first), read(last)
    needed, waiting = {first}, [last]
    while waiting:
        node = read(waiting.pop())
        if node not in needed:
            needed.add(node)
            waiting += [] if is_batch(node) else node.all_input_nodes
    root, part = nn.Module(), fx.Graph()
    entry = part.placeholder("x")
    copies = {first: entry}
    for node in graph.graph.nodes:
        if node is first or node not in needed:
            continue
        if is_batch(node):
            copies[node] = part.call_method("size", (entry, 0))
            continue
        copies[node] = part.node_copy(node, lambda given: copies[read(given)])
        copies[node].meta = dict(node.meta)
        name = str(node.target)
        if node.op == "call_module":
            put(root, name, narrowed(graph.get_submodule(name), (gone or {}).get(name, {})))
        elif node.op == "get_attr" and not has(root, name):
            put(root, name, tensor_at(graph, name))
    part.output(copies[last])
    return fx.GraphModule(root, part).eval()
