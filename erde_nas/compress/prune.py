"""Structured pruning with Torch-Pruning (Fang et al., CVPR 2023): whole channels go, in multiples of 8.

Odd channel counts run slower than the next multiple of 8, so fewer removed channels can mean a faster student.
"""

import copy

import torch
import torch_pruning
from torch import nn

from erde_nas.records import Arch
from erde_nas.students.blocks import ShuffleUnit
from erde_nas.students.network import EarlyExitNetwork, describe

ROUND_TO = 8


def prune(network: EarlyExitNetwork, ratio: float) -> tuple[EarlyExitNetwork, Arch]:
    """A copy of the network with about `ratio` of the channels of every layer removed, and its architecture.

    The channels with the smallest group L2 norm go. The exits, their heads and the class layers keep their places, and
    shuffle units, whose halves run through the network as a pattern, lose inner channels alone. Accuracy falls until
    the copy is trained again. The copy equals what its architecture builds, layer by layer.
    """
    arch = network.arch
    pruned = copy.deepcopy(network).cpu().eval()
    example = torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size)
    pruner = torch_pruning.pruner.BasePruner(
        pruned,
        example,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        round_to=ROUND_TO,
        ignored_layers=_kept(pruned),
    )
    with torch.enable_grad():  # the dependency graph is read off autograd's
        pruner.step()
    pruned.zero_grad(set_to_none=True)
    shape = describe(pruned)
    rebuilt = EarlyExitNetwork(shape, [0.0] * arch.in_channels, [1.0] * arch.in_channels)
    rebuilt.load_state_dict(pruned.state_dict())
    return rebuilt, shape


def _kept(network: EarlyExitNetwork) -> list[nn.Module]:
    """The layers that keep all their outputs: the classes, and what is shuffled."""
    kept: list[nn.Module] = [segment.head.classifier for segment in network.parts]
    layers = [layer for segment in network.parts for layer in segment.body]
    units = [layer for layer in layers if isinstance(layer, ShuffleUnit)]
    if units and units[0].splits:  # the stem's channels are its halves
        kept.append(layers[1])
    return kept + [half for unit in units for half in unit.halves()]
