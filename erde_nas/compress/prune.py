"""Structured pruning with Torch-Pruning (Fang et al., CVPR 2023): whole channels go, in multiples that runtimes like.

Odd channel counts run slower than the next multiple of 8, so fewer removed channels can mean a faster student.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning
from torch import nn

from erde_nas.records import Arch
from erde_nas.students.blocks import BLOCK_CLASSES, ShuffleUnit
from erde_nas.students.families import stage_ends
from erde_nas.students.network import EarlyExitNetwork, describe

ROUND_TO = 8
GRID = tuple(percent / 100 for percent in range(5, 100, 5))  # the shares among which a goal is looked for
Gradients = Callable[[EarlyExitNetwork], None]
"""Leaves the gradients of a loss in the parameters of the network that it is given."""


@dataclass(frozen=True)
class Pruning:
    """Which channels go. `magnitude`: the L2 norm of the layer that makes the channel; `group-norm`: of all layers that
    hold it (Fang et al., eq. 6); `taylor`: |weight · gradient| (Molchanov et al., CVPR 2019, eq. 8). They are ranked
    within a `layer`, a `stage` or the whole network."""

    importance: Literal["magnitude", "group-norm", "taylor"] = "group-norm"
    scope: Literal["layer", "stage", "global"] = "layer"
    multiple: int = ROUND_TO


BY_LAYER = Pruning()


def prune(
    network: EarlyExitNetwork, ratio: float, how: Pruning = BY_LAYER, gradients: Gradients | None = None
) -> tuple[EarlyExitNetwork, Arch]:
    """A copy of the network with about `ratio` of its channels removed, and its architecture.

    The exits, their heads and the class layers keep their places, and shuffle units, whose halves run through the
    network as a pattern, lose inner channels alone. Accuracy falls until the copy is trained again. The copy equals
    what its architecture builds, layer by layer. `taylor` needs `gradients`.
    """
    arch = network.arch
    pruned = copy.deepcopy(network).cpu().eval()
    example = torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size)
    if how.importance == "taylor":
        if gradients is None:
            raise ValueError("importance taylor needs gradients")
        gradients(pruned)
        pruned.eval()
    scopes: dict[str, Any] = {"global_pruning": how.scope != "layer"}
    if how.scope == "stage":
        scopes["pruning_ratio_dict"] = {tuple(stage): ratio for stage in _stages(pruned)}
    pruner = torch_pruning.pruner.BasePruner(
        pruned,
        example,
        importance=_importance(how),
        pruning_ratio=ratio,
        round_to=how.multiple,
        ignored_layers=_kept(pruned),
        **scopes,
    )
    with torch.enable_grad():  # the dependency graph is read off autograd's
        pruner.step()
    pruned.zero_grad(set_to_none=True)
    shape = describe(pruned)
    rebuilt = EarlyExitNetwork(shape, [0.0] * arch.in_channels, [1.0] * arch.in_channels)
    rebuilt.load_state_dict(pruned.state_dict())
    return rebuilt, shape


def shapes(
    network: EarlyExitNetwork, how: Pruning = BY_LAYER, gradients: Gradients | None = None, grid: Sequence[float] = GRID
) -> list[tuple[float, Arch]]:
    """The different architectures that pruning gives, each with the least share of `grid` that gives it, rising.

    The network itself is not among them.
    """
    found = {network.arch: 0.0}
    for ratio in grid:
        found.setdefault(prune(network, ratio, how, gradients)[1], ratio)
    return [(ratio, arch) for arch, ratio in found.items() if ratio]


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
            if isinstance(layer, BLOCK_CLASSES):
                if block - 1 in ends:
                    stages.append([])
                block += 1
            stages[-1].append(layer)
        stages[-1].append(segment.head.features)
    return stages


def _kept(network: EarlyExitNetwork) -> list[nn.Module]:
    """The layers that keep all their outputs: the classes, and what is shuffled."""
    kept: list[nn.Module] = [segment.head.classifier for segment in network.parts]
    layers = [layer for segment in network.parts for layer in segment.body]
    units = [layer for layer in layers if isinstance(layer, ShuffleUnit)]
    if units and units[0].splits:  # the stem's channels are its halves
        kept.append(layers[1])
    return kept + [half for unit in units for half in unit.halves()]
