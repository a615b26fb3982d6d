"""Which features of the student are compared with which of the teacher, and what the feature losses share.

A hint point is a block after which `EarlyExitNetwork.forward_all` gives features. A student's hint point belongs to
the first exit at or behind it, so a network with one exit has the plain form of the papers. Behind the last of them
come the features that the last classifier reads: 1280 channels in MobileNetV2, in a wide ResNet after its last norm.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.families import last_blocks
from erde_nas.networks.network import EarlyExitNetwork, hint_blocks
from erde_nas.recipe.distil import DistilSection

WARMUP = 20 / 240  # share of the training over which both papers' published code raises the features' weight


@dataclass(frozen=True)
class Hints:
    """One entry for each hint point of the student, shallowest first."""

    blocks: tuple[int, ...]  # of the student
    exits: tuple[int, ...]  # the student exit that the hint point belongs to
    teacher: tuple[int, ...]  # the matching hint point among the teacher's
    teacher_blocks: tuple[int, ...]  # and its block


def match_hints(student: Arch, teacher: Arch) -> Hints:
    """Each hint point with the teacher's of the nearest relative depth that is not shallower.

    With as many stages on both sides, the ends of equal stages meet, as the papers pair them: shares of MACs would pair
    them one off as soon as a student's stage weighs a little more than the teacher's.
    """
    blocks, theirs = hint_blocks(student), hint_blocks(teacher)
    mine, depths = relative_depths(student), relative_depths(teacher)
    ends = [exit_.block for exit_ in student.exits]
    found = tuple(next(j for j, b in enumerate(theirs) if depths[b] >= mine[block] - 1e-9) for block in blocks)
    exits = tuple(next(e for e, end in enumerate(ends) if end >= block) for block in blocks)
    return Hints(blocks, exits, found, tuple(theirs[j] for j in found))


def relative_depths(arch: Arch) -> list[float]:
    """How deep the end of each block lies, in (0, 1]: stages count equally, and blocks within a stage."""
    sizes = np.diff([-1, *last_blocks(arch)]).tolist()  # blocks of each stage
    return [(stage + (i + 1) / size) / len(sizes) for stage, size in enumerate(sizes) for i in range(size)]


@torch.no_grad()
def hint_features(network: EarlyExitNetwork) -> list[Tensor]:
    """What `forward_all` gives as features of noise (2, channels, h, w), in eval mode; the network is left alone."""
    copied, arch = copy.deepcopy(network).cpu().eval(), network.arch
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, arch.in_channels, arch.image_size, arch.image_size, generator=generator) * 255
    return copied.forward_all(images)[1]


def with_deepest(features: Sequence[Tensor]) -> list[Tensor]:
    """What `forward_all` gives as features, with what the last classifier reads in place of the last block's."""
    return [*features[:-2], features[-1]]


def autocast_like(features: Tensor) -> torch.autocast:
    """Autocast to the type in which the network gave `features`, so that what reads them can take them."""
    low = features.dtype in (torch.bfloat16, torch.float16)
    dtype = features.dtype if low else torch.bfloat16
    return torch.autocast(features.device.type, dtype, enabled=low, cache_enabled=False)  # threads would share a cache


def mean_per_exit(losses: Iterable[tuple[int, Tensor]], weight: Tensor) -> Tensor:
    """Losses (batch,) of exits, any number for each -> the weighted mean over the batch of each exit's sum (exits,).

    `weight` is (exits, batch).
    """
    sums = list(torch.zeros_like(weight))
    for exit_, loss in losses:
        sums[exit_] = sums[exit_] + loss
    return (weight * torch.stack(sums)).mean(-1)


def with_features(section: DistilSection, teacher: EarlyExitNetwork | None) -> EarlyExitNetwork:
    """The teacher. Raises UserError where it gives no features."""
    if teacher is None:
        raise UserError(
            f"distil: the loss '{section.loss}' with the term '{section.method.term}' compares features inside the "
            "networks, but this teacher (a .pt2 program or another library's model) gives logits alone; choose a loss "
            "on logits, such as erde, kd, dkd or mld, or a teacher of erde-nas (.safetensors with arch.json)"
        )
    return teacher
