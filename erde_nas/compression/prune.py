"""Structured pruning with Torch-Pruning (Fang et al., CVPR 2023): whole channels go, in multiples that runtimes like.

Odd channel counts run slower than the next multiple of 8, so fewer removed channels can mean a faster student.
Torch-Pruning finds which layers lose a channel together, and how much each channel matters. How many go is decided
here: its own pruner leaves a layer alone whose share would round to nothing, so that a larger share can remove less.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from erde_nas.compression.widths import kept_channels
from erde_nas.networks.arch import Arch
from erde_nas.networks.blocks import is_block
from erde_nas.networks.blocks.mobile import ShuffleUnit
from erde_nas.networks.blocks.residual import Bottleneck
from erde_nas.networks.families import stage_ends
from erde_nas.networks.heads import Head
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, blank, describe
from erde_nas.networks.own.student import own_layers
from erde_nas.recipe.compress import Importance, Scope

ROUND_TO = 8
GRID = tuple(percent / 100 for percent in range(5, 100, 5))  # the shares among which a goal is looked for
Gradients = Callable[[EarlyExitNetwork], None]
"""Leaves the gradients of a loss in the parameters of the network that it is given."""


@dataclass(frozen=True)
class Pruning:
    """Which channels go. `magnitude`: the L2 norm of the layer that makes the channel; `group-norm`: of all layers that
    hold it (Fang et al., eq. 6); `taylor`: |weight · gradient| (Molchanov et al., CVPR 2019, eq. 8). They are ranked
    within a `layer`, a `stage` or the whole network."""

    importance: Importance = "group-norm"
    scope: Scope = "layer"
    multiple: int = ROUND_TO


BY_LAYER = Pruning()


def prune(
    network: EarlyExitNetwork,
    ratio: float,
    how: Pruning = BY_LAYER,
    gradients: Gradients | None = None,
    whole: EarlyExitNetwork | None = None,
) -> tuple[EarlyExitNetwork, Arch]:
    """A copy of the network with about `ratio` of its channels removed, and its architecture.

    Every layer keeps one `multiple` at least, a larger ratio never leaves more of any layer, and 0 leaves everything.
    Where the network was pruned before, `ratio` is of the channels of `whole`, which it was made from.

    The exits, their heads and the class layers keep their places, and shuffle units, whose halves run through the
    network as a pattern, lose inner channels alone. Accuracy falls until the copy is trained again. The copy equals
    what its architecture builds, layer by layer. `taylor` needs `gradients`.
    """
    groups = Groups(network, how, gradients)
    return groups.cut(groups.widths(ratio, whole or network))


def shapes(
    network: EarlyExitNetwork, how: Pruning = BY_LAYER, gradients: Gradients | None = None, grid: Sequence[float] = GRID
) -> list[tuple[float, Arch]]:
    """The different architectures that pruning gives, each with the least share of `grid` that gives it, the one with
    the most MACs first.

    The network itself is not among them.
    """
    groups = Groups(network, how, gradients)
    shares: dict[tuple[tuple[str, int], ...], float] = {}
    found: list[tuple[int, float, Arch]] = []
    for ratio in grid:
        shares.setdefault(tuple(groups.widths(ratio, network).items()), ratio)
    for widths, ratio in shares.items():
        pruned, arch = groups.cut(dict(widths))
        found += [] if arch == network.arch else [(macs_per_exit(pruned)[-1], ratio, arch)]
    return [(ratio, arch) for _, ratio, arch in sorted(found, key=lambda shape: -shape[0])]


class Groups:
    """What loses channels together in a network, named after the first layer of each, and what every channel is worth.

    The network itself is left alone.
    """

    def __init__(self, network: EarlyExitNetwork, how: Pruning, gradients: Gradients | None) -> None:
        self._network, self._how = copy.deepcopy(network).cpu().eval(), how
        if how.importance == "taylor":
            if gradients is None:
                raise ValueError("importance taylor needs gradients")
            gradients(self._network.requires_grad_())  # also of what is not trained: a channel is worth that as well
            self._network.eval()
        importance = _importance(how)
        names = {module: name for name, module in self._network.named_modules()}
        groups = _graph(self._network).get_all_groups(ignored_layers=_kept(self._network))
        roots = [(names[group[0].dep.target.module], group) for group in groups]
        free = own_layers(network.arch) if network.arch.own else None  # of a user's network only what was tried
        roots = [(n, group) for n, group in roots if free is None or ".head." in n or n.rpartition(".net.")[2] in free]
        self.scores: dict[str, Tensor] = {name: importance(group) for name, group in roots}
        self._network.zero_grad(set_to_none=True)

    def widths(self, ratio: float, whole: EarlyExitNetwork) -> dict[str, int]:
        """The channels that each group keeps where `ratio` of those of `whole` are to go."""
        modules: dict[str, Any] = dict(whole.named_modules())
        channels = {name: len(modules[name].weight) for name in self.scores}
        scopes: dict[str, Any] = {name: name for name in self.scores}
        if self._how.scope == "global":
            scopes = dict.fromkeys(self.scores)
        elif self._how.scope == "stage":
            stages = {
                layer: at for at, stage in enumerate(_stages(whole)) for part in stage for layer in part.modules()
            }
            scopes = {name: stages[modules[name]] for name in self.scores}
        kept = kept_channels(self.scores, channels, ratio, scopes, self._how.multiple)
        for name in [name for name, module in modules.items() if isinstance(module, Bottleneck)]:
            ends = f"{name}.reduce.0", f"{name}.middle.0"  # one number in the architecture
            kept |= dict.fromkeys(ends, max(kept[end] for end in ends))
        return kept

    def cut(self, widths: Mapping[str, int]) -> tuple[EarlyExitNetwork, Arch]:
        """A copy in which every group has as many channels as `widths` says, those of most worth; its architecture."""
        pruned = copy.deepcopy(self._network)
        graph = _graph(pruned)
        for name, scores in self.scores.items():
            drop = scores.argsort(stable=True)[: len(scores) - widths[name]].tolist()
            if drop:
                layer = pruned.get_submodule(name)
                graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, drop).prune()
        shape = describe(pruned)
        rebuilt = blank(shape)
        rebuilt.load_state_dict(pruned.state_dict())
        return rebuilt, shape


def _graph(network: EarlyExitNetwork) -> torch_pruning.DependencyGraph:
    """Which layers hold a channel in common."""
    arch = network.arch
    example = torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size)
    with torch.enable_grad():  # it is read off autograd's
        return torch_pruning.DependencyGraph().build_dependency(network, example)


def _importance(how: Pruning) -> torch_pruning.importance.Importance:
    if how.importance == "taylor":
        return torch_pruning.importance.GroupTaylorImportance()
    reduction = "first" if how.importance == "magnitude" else "mean"
    return torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction=reduction)


def _stages(network: EarlyExitNetwork) -> list[list[nn.Module]]:
    """The layers of each resolution, with the heads on it; the stem belongs to the first."""
    ends, stages, block = stage_ends(network.arch.blocks), [[]], 0  # type: ignore[var-annotated]
    for segment in network.parts:
        for layer in segment.body:
            if is_block(layer):
                if block - 1 in ends:
                    stages.append([])
                block += 1
            stages[-1].append(layer)
        stages[-1].append(segment.head)
    return stages


def _kept(network: EarlyExitNetwork) -> list[nn.Module]:
    """The layers that keep all their outputs: the classes, and what is shuffled."""
    heads = [layer for segment in network.parts for layer in segment.head.modules() if isinstance(layer, Head)]
    kept: list[nn.Module] = [head.classifier for head in heads]
    layers = [layer for segment in network.parts for layer in segment.body]
    units = [layer for layer in layers if isinstance(layer, ShuffleUnit)]
    if units and units[0].splits:  # the stem's channels are its halves
        kept.append(layers[1])
    return kept + [half for unit in units for half in unit.halves()]
