"""Where a network can be cut: every place at which exactly one tensor is alive.

A tensor is alive behind an operator if something later still reads it. What is made of weights alone, or of the number
of inputs, can be made again anywhere and does not count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, fx, nn

from erde_nas.networks.own.costs import macs_by_node
from erde_nas.networks.own.functional import Seen, from_inputs
from erde_nas.networks.programs.graph import name_of

Kind = Literal["map", "tokens", "vector"]


@dataclass(frozen=True)
class Cut:
    """One place. `number` counts from 0 in the order of the network, `name` is that of the operator that made the
    tensor and `place` the module of the user's that holds it, empty where the program does not say. `shape` is without
    the batch. `macs` and `parameters` are of everything up to here, `share` is that of the whole network's MACs.

    `kind` says where the channels are: first in a map (c, h, w) or (c, length), last among tokens (n, c) or (h, w, c);
    a vector (c,) has nothing else. `stage` is in words what it belongs to: a resolution, or a repeated block.
    """

    number: int
    name: str
    place: str
    stage: str
    kind: Kind
    shape: tuple[int, ...]
    macs: int
    share: float
    parameters: int

    @property
    def channels(self) -> int:
        """Features of each place."""
        return self.shape[0] if self.kind == "map" else self.shape[-1]

    @property
    def size(self) -> tuple[int, ...]:
        """Places: (h, w), (n,), or () of a vector."""
        return self.shape[1:] if self.kind == "map" else self.shape[:-1]


def find_cuts(graph: fx.GraphModule, seen: Seen, one: Tensor) -> tuple[tuple[Cut, ...], int]:
    """All cuts in their order, the input and the logits left out, and the MACs of the whole; `one` is an input
    (1, ...)."""
    flow = from_inputs(graph.graph, seen)
    alone = [node for node in cut_nodes(graph.graph, flow) if seen.holds_samples(node)]
    macs, before, spent = macs_by_node(graph, one), dict[fx.Node, int](), 0
    for node in graph.graph.nodes:
        spent += macs[node]
        before[node] = spent
    parameters = _parameters_before(graph)
    kinds = _kinds(graph, flow, seen)
    cuts = [
        Cut(
            number=number,
            name=node.name,
            place=str(node.meta.get("place", "")),
            stage=_stage(node, seen, kinds[node]),
            kind=kinds[node],
            shape=(seen.shape(node) or ())[1:],
            macs=before[node],
            share=before[node] / max(spent, 1),
            parameters=parameters[node],
        )
        for number, node in enumerate(alone)
    ]
    return tuple(cuts), spent


def cut_nodes(graph: fx.Graph, flow: Sequence[fx.Node]) -> list[fx.Node]:
    """Those of `flow` (what depends on the inputs, in order) behind which nothing else of it is alive, without the
    first and the last."""
    place = {node: number for number, node in enumerate(flow)}
    given = next(node for node in graph.nodes if node.op == "output").all_input_nodes
    last = {node: max([place[user] for user in node.users if user in place], default=len(flow)) for node in flow}
    last |= {node: len(flow) for node in given}
    alone, longest = [], 0  # how far what came before reaches
    for number, node in enumerate(flow):
        if longest <= number and 0 < number < len(flow) - 1:
            alone.append(node)
        longest = max(longest, last[node])
    return alone


def _parameters_before(graph: fx.GraphModule) -> dict[fx.Node, int]:
    """Of every node, the numbers to be learned in everything up to it."""
    known: set[int] = set()
    total, found = 0, {}
    for node in graph.graph.nodes:
        for parameter in _own_parameters(graph, node):
            if id(parameter) not in known:
                known.add(id(parameter))
                total += parameter.numel()
        found[node] = total
    return found


def _own_parameters(graph: fx.GraphModule, node: fx.Node) -> list[nn.Parameter]:
    if node.op == "call_module":
        return list(graph.get_submodule(str(node.target)).parameters())
    if node.op == "call_function" or node.op == "call_method":
        sources = [source for source in node.all_input_nodes if source.op == "get_attr"]
        values = [_attribute(graph, str(source.target)) for source in sources]
        return [value for value in values if isinstance(value, nn.Parameter)]
    return []


def _attribute(graph: fx.GraphModule, path: str) -> object:
    above, _, last = path.rpartition(".")
    return getattr(graph.get_submodule(above), last)


# --- what a tensor is -------------------------------------------------------------------------------------------------

ON_MAPS = ("Conv", "BatchNorm")
ON_TOKENS = ("Linear", "LayerNorm", "Embedding")
MAP_CALLS = ("conv", "batch_norm", "pool")
TOKEN_CALLS = ("linear", "layer_norm", "embedding", "scaled_dot_product_attention", "matmul")
TURNS = ("permute", "transpose", "flatten", "reshape")


def _kinds(graph: fx.GraphModule, flow: Sequence[fx.Node], seen: Seen) -> dict[fx.Node, Kind]:
    """Where the channels of each are: as the operators say that made it, or else those that read it; a network that
    says nothing has maps of four axes and tokens of three."""
    found: dict[fx.Node, Kind] = {}
    for node in flow:
        told = _told(graph, node)
        if told is None and node.target not in TURNS and name_of(node) not in TURNS:
            told = next(
                (found[given] for given in node.all_input_nodes if found.get(given, "vector") != "vector"), None
            )
        found[node] = "vector" if len(seen.shape(node) or ()) < 3 else told or _read_as(graph, node)
    return found


def _read_as(graph: fx.GraphModule, node: fx.Node) -> Kind:
    readers, known = list(node.users), {node}
    while readers:
        reader = readers.pop(0)
        told = _told(graph, reader)
        if told is not None:
            return told
        if reader not in known and reader.target not in TURNS and name_of(reader) not in TURNS:
            readers += reader.users
        known.add(reader)
    return "map"


def _told(graph: fx.GraphModule, node: fx.Node) -> Kind | None:
    """What kind of tensor an operator takes and gives, if it says."""
    if node.op == "call_module":
        kind = type(graph.get_submodule(str(node.target))).__name__
        return "map" if kind.startswith(ON_MAPS) else "tokens" if kind.startswith(ON_TOKENS) else None
    name = name_of(node)
    if any(part in name for part in TOKEN_CALLS):
        return "tokens"
    return "map" if any(part in name for part in MAP_CALLS) else None


def _stage(node: fx.Node, seen: Seen, kind: Kind) -> str:
    """A resolution; of tokens, which keep theirs, also the repeated block, where the program names one."""
    shape = (seen.shape(node) or ())[1:]
    if kind == "vector":
        return "vector"
    size = "×".join(map(str, shape[1:] if kind == "map" else shape[:-1]))
    if kind == "map":
        return size if len(shape) > 2 else f"length {size}"
    block = re.match(r"(?:[A-Za-z_]\w*\.)*?\d+", str(node.meta.get("place", "")))
    return f"{size} tokens, {block[0]}" if block else f"{size} tokens"
