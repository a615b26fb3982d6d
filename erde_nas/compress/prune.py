"""Structured pruning with Torch-Pruning (Fang et al., CVPR 2023): whole channels go, in multiples of 8.

Odd channel counts run slower than the next multiple of 8, so fewer removed channels can mean a faster student.
"""

import copy

import torch
import torch_pruning

from erde_nas.records import Arch
from erde_nas.students.network import EarlyExitNetwork, describe

ROUND_TO = 8


def prune(network: EarlyExitNetwork, ratio: float) -> tuple[EarlyExitNetwork, Arch]:
    """A copy of the network with about `ratio` of the channels of every layer removed, and its architecture.

    The channels with the smallest group L2 norm go. The exits, their heads and the class layers keep their places;
    accuracy falls until the copy is trained again. The copy equals what its architecture builds, layer by layer.
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
        ignored_layers=[segment.head.classifier for segment in pruned.parts],
    )
    with torch.enable_grad():  # the dependency graph is read off autograd's
        pruner.step()
    pruned.zero_grad(set_to_none=True)
    shape = describe(pruned)
    rebuilt = EarlyExitNetwork(shape, [0.0] * arch.in_channels, [1.0] * arch.in_channels)
    rebuilt.load_state_dict(pruned.state_dict())
    return rebuilt, shape
