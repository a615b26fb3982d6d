"""Blocks that a network can do without: what adds to a tensor that is kept beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from erde_nas.networks.own.cuts import Cut
from erde_nas.networks.programs.graph import name_of


@dataclass(frozen=True)
class Skip:
    """A block: `node` adds what it made to what `source` gave, which is read in its place where the block is skipped.
    `stage` and `place` say in words where it is."""

    node: str
    source: str
    stage: str
    place: str


def find_skips(graph: fx.GraphModule, cuts: Sequence[Cut]) -> list[Skip]:
    """The residual blocks between two cuts of one shape, in the network's order."""
    nodes, known = {node.name: node for node in graph.graph.nodes}, {cut.name: cut for cut in cuts}
    found = []
    for cut in cuts:
        node = nodes[cut.name]
        given = node.all_input_nodes
        if name_of(node) != "add" or len(given) != 2 or node.kwargs.get("alpha", 1) != 1:
            continue
        for source, made in (given, given[::-1]):
            if source.name in known and known[source.name].shape == cut.shape and _depends(made, source):
                found.append(Skip(cut.name, source.name, cut.stage.partition(",")[0], cut.place))
                break
    return found


def _depends(node: fx.Node, source: fx.Node) -> bool:
    seen, waiting = set[fx.Node](), [node]
    while waiting:
        one = waiting.pop()
        if one is source:
            return True
        waiting += [] if one in seen else one.all_input_nodes
        seen.add(one)
    return False
