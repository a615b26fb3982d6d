"""A program's graph without operators that write into their arguments, and with sizes that say what they depend on."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from erde_nas.networks.programs.graph import ATEN, name_of


def with_results(graph: fx.Graph) -> bool:
    """Replace operators such as `relu_` by those that give a new tensor (`relu`), and what was read from the changed
    tensor afterwards by the new one, in place. False, with the rest left alone, where a view of a tensor is written to.
    """
    place = {node: number for number, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if not _writes(node):
            continue
        changed = node.args[0]
        fresh = getattr(ATEN, name_of(node).rstrip("_"), None)
        overload = getattr(fresh, node.target._overloadname, None)
        earlier = [user for user in changed.users if place[user] < place[node]]
        if overload is None or _is_view(changed) or any(_is_view(user) for user in earlier):
            return False
        node.target = overload
        for user in [user for user in changed.users if place[user] > place[node]]:
            user.replace_input_with(changed, node)
    return True


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _is_view(node: fx.Node) -> bool:
    """Whether what it gives may share memory with what it took."""
    if node.op == "call_method":
        return node.target in ("reshape", "expand", "view")
    if not isinstance(node.target, torch._ops.OpOverload) or _writes(node):
        return node.op == "call_function" and not isinstance(node.target, torch._ops.OpOverload)
    return any(value.alias_info is not None for value in node.target._schema.returns) or name_of(node) == "reshape"


@dataclass(frozen=True)
class Seen:
    """What every node of a graph gave for two and for three inputs: the shape of a tensor, with its type, or a number.
    Nodes that gave neither are left out."""

    two: dict[fx.Node, Any]
    three: dict[fx.Node, Any]

    def shape(self, node: fx.Node) -> tuple[int, ...] | None:
        """The shape for two inputs; None where it gave no tensor."""
        found = self.two.get(node)
        return found[0] if isinstance(found, tuple) else None

    def holds_samples(self, node: fx.Node) -> bool:
        """Whether it gave a tensor of floating-point numbers whose first axis, and no other, is that of the inputs."""
        two, three = self.two.get(node), self.three.get(node)
        if not isinstance(two, tuple) or not isinstance(three, tuple):
            return False
        one_axis = two[0][:1] == (2,) and three[0][:1] == (3,) and two[0][1:] == three[0][1:]
        return one_axis and two[1].is_floating_point


class _Watched(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if isinstance(found, Tensor):
            self.seen[n] = (tuple(found.shape), found.dtype)
        elif isinstance(found, int | float):
            self.seen[n] = found
        return found


@torch.no_grad()
def watch(graph: fx.GraphModule, inputs: Tensor) -> Seen:
    """Run it on the first two and the first three of `inputs` (n, ...)."""
    runs = [_Watched(graph), _Watched(graph)]
    for number, run in zip((2, 3), runs, strict=True):
        run.run(inputs[:number])
    return Seen(runs[0].seen, runs[1].seen)


def with_known_sizes(graph: fx.Graph, seen: Seen) -> None:
    """Replace every number that a node gives by a constant, or by a multiple of how many inputs there are, in place."""
    entry = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(entry):
        batch = graph.call_method("size", (entry, 0))
    numbers = [node for node in graph.nodes if node in seen.two and not isinstance(seen.two[node], tuple)]
    for node in numbers:
        two, three = seen.two[node], seen.three.get(node)
        if two == three:
            put_value(node, two)
        elif isinstance(two, int) and isinstance(three, int) and two * 3 == three * 2 and two % 2 == 0:
            with graph.inserting_before(node):
                put_value(node, batch if two == 2 else graph.call_function(operator.mul, (batch, two // 2)))
    graph.eliminate_dead_code()


def put_value(node: fx.Node, value: Any) -> None:
    """Let all that read a node read a value instead."""
    for user in list(node.users):
        user.args = fx.map_arg(user.args, lambda given: value if given is node else given)
        user.kwargs = fx.map_arg(user.kwargs, lambda given: value if given is node else given)


def is_batch(node: fx.Node) -> bool:
    """Whether it says how many inputs there are."""
    if node.op != "call_method" or node.target != "size" or node.args[1:] != (0,):
        return False
    source = node.args[0]
    return isinstance(source, fx.Node) and source.op == "placeholder"


def from_inputs(graph: fx.Graph, seen: Seen) -> list[fx.Node]:
    """The nodes whose values depend on what the inputs hold, in order: not weights, nor what is made of them and of the
    inputs' number."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "output":
            continue
        is_number = node in seen.two and not isinstance(seen.two[node], tuple)
        if node.op == "placeholder" or (not is_number and any(given in found for given in node.all_input_nodes)):
            found[node] = None
    return list(found)
