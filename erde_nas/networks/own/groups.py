"""Which channels of a network can go: groups of layers that lose them together, and what each channel is worth.

Torch-Pruning (Fang et al., CVPR 2023) finds the groups and the worth of their channels, the L2 norm of all layers that
hold one. A group counts only if leaving channels out does the same as letting nobody read them, which is tried on the
network itself: so a layer that splits, shuffles or normalises its channels by their number keeps all of them.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch_pruning
from torch import Tensor, fx, nn

from erde_nas.networks.own.cuts import Cut
from erde_nas.networks.own.modules import put
from erde_nas.networks.own.narrow import Group, Member, can_shrink, gone_channels
from erde_nas.networks.own.pieces import between, end_of

MULTIPLE = 8  # channels: odd numbers run slower than the next multiple
CLOSE = 1e-3  # of the largest logit: as far as the order of sums may lead
PROBE = "exit_probe_"


def find_groups(graph: fx.GraphModule, cuts: Sequence[Cut], places: Sequence[int], inputs: Tensor) -> list[Group]:
    """The groups of a network that takes `inputs` (n, ...), in its order. What is alive at the cuts `places` is a
    member of a group as the side "in" of a layer `probe_name(number of the cut)`."""
    probed = _with_probes(graph, [cuts[number] for number in places])
    with torch.enable_grad(), warnings.catch_warnings():  # it is read off autograd's
        warnings.simplefilter("ignore", UserWarning)  # of weights outside of layers, which keep their channels
        found = torch_pruning.DependencyGraph().build_dependency(probed, inputs[:2])
    worth = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    names, stages = {layer: name for name, layer in probed.named_modules()}, _stages(graph, cuts)
    place = {name: number for number, name in enumerate(stages)}
    groups = []
    for every in found.get_all_groups():
        root = names[every[0].dep.target.module]
        members = _members(every, names)
        if members and len(every[0].idxs) > MULTIPLE and root in stages:
            order = worth(every).argsort(descending=True, stable=True)
            groups.append((place[root], Group(stages[root], order, members)))
    ordered = [group for _, group in sorted(groups, key=lambda pair: pair[0])]
    with torch.no_grad():
        return [group for group in ordered if _is_free(graph, group, inputs)]


def probe_name(cut: int) -> str:
    """The layer that stands for an exit at a cut."""
    return f"{PROBE}{cut}"


def _with_probes(graph: fx.GraphModule, cuts: Sequence[Cut]) -> fx.GraphModule:
    """A copy that reads what is alive at the cuts with layers of its own, which are worth nothing."""
    probed = copy.deepcopy(graph)
    nodes = {node.name: node for node in probed.graph.nodes}
    output = next(node for node in probed.graph.nodes if node.op == "output")
    reads = []
    for cut in cuts:
        kinds: dict[int, type[nn.Module]] = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}
        on_map = cut.kind == "map"
        layer = kinds[len(cut.shape)](cut.channels, 1, 1) if on_map else nn.Linear(cut.channels, 1)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        put(probed, probe_name(cut.number), layer)
        with probed.graph.inserting_before(output):
            reads.append(probed.graph.call_module(probe_name(cut.number), (nodes[cut.name],)))
    output.args = ((*reads, output.args[0]),)
    probed.recompile()
    return probed.eval()


def _stages(graph: fx.GraphModule, cuts: Sequence[Cut]) -> dict[str, str]:
    """Of every layer, in the network's order, the stage of the first cut that is not before it."""
    at = {cut.name: cut.stage.partition(",")[0] for cut in cuts}
    found: dict[str, str] = {}
    stage = cuts[-1].stage
    for node in reversed(graph.graph.nodes):
        stage = at.get(node.name, stage)
        if node.op == "call_module":
            found[str(node.target)] = stage
    return dict(reversed(found.items()))


def _members(every: torch_pruning.Group, names: dict[nn.Module, str]) -> tuple[Member, ...]:
    """The layers of a group; none where one of them is of a kind that must keep its channels."""
    members = []
    for item in every.items:
        layer, handler = item.dep.target.module, item.dep.handler
        if layer not in names:
            if isinstance(layer, nn.Parameter):
                return ()
            continue  # an operation without weights
        if not can_shrink(layer):
            return ()
        # torch's depthwise convolutions and norms give what they take
        side = "out" if every._DG.is_out_channel_pruning_fn(handler) else "in"
        members.append(Member(names[layer], side, torch.tensor(item.idxs), torch.tensor(item.root_idxs)))
    return tuple(members)


def _is_free(graph: fx.GraphModule, group: Group, inputs: Tensor) -> bool:
    """Whether half of the channels can go: the network without them answers as if nobody read them."""
    gone = gone_channels([group], [group.channels // 2])
    start = next(node for node in graph.graph.nodes if node.op == "placeholder")
    unread = copy.deepcopy(graph)
    for member in group.members:
        if member.side == "in" and not member.layer.startswith(PROBE):
            layer: Any = unread.get_submodule(member.layer)
            layer.weight.data[:, gone[member.layer]["in"]] = 0
    wanted: Tensor = unread(inputs)
    narrow = fx.Interpreter(between(graph, start, end_of(graph), gone=gone))
    narrow.extra_traceback = False
    try:
        found = narrow.run(inputs)
    except (RuntimeError, ValueError):  # a shape that does not fit
        return False
    near = found.shape == wanted.shape and (found - wanted).abs().max() <= CLOSE * wanted.abs().max()
    return bool(near)
