"""ReviewKD: Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021 (arXiv 2104.09044).

The student's features are fused from the deepest level to the shallowest (ABF, fig. 3a), and each fused level is
compared with the teacher's (HCL, fig. 3b): shallow levels of the teacher teach deep ones of the student. The levels are
the hint points and, deepest, the averages over all pixels of what the last classifier reads.

The features are those that leave a block; the published code takes the teacher's from before a block's last ReLU, and
in wide ResNets after the next block's first norm.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.distil.objective import rising
from erde_nas.distil.step import Step, Term
from erde_nas.distil.terms.hints import WARMUP, autocast_like, match_hints, mean_per_exit, with_features
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection

MAX_MIDDLE = 512  # channels in which levels are fused


class ABF(nn.Module):
    """Attention-based fusion of one level's features with what comes from the next deeper level, if there is one."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, fuses: bool) -> None:
        super().__init__()
        self.reduce = _conv_bn(inputs, middle, 1)
        self.attention = nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid()) if fuses else None
        self.expand = _conv_bn(middle, outputs, 3)

    def forward(self, x: Tensor, deeper: Tensor | None, size: int) -> tuple[Tensor, Tensor]:
        """Features (batch, inputs, h, w) and the deeper level's (batch, middle, any, any) -> features to compare
        (batch, outputs, size, size), and what the next shallower level fuses (batch, middle, size, size)."""
        x = self.reduce(x)
        if self.attention is not None and deeper is not None:
            deeper = _resize(deeper, x.shape[-1])
            maps = self.attention(torch.cat([x, deeper], 1))  # (batch, 2, h, w)
            x = x * maps[:, :1] + deeper * maps[:, 1:]
        x = _resize(x, size)
        return self.expand(x), x


def _conv_bn(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _resize(x: Tensor, size: int) -> Tensor:
    return x if x.shape[-1] == size else F.interpolate(x, (size, size), mode="nearest")


def hcl(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss: features (batch, channels, h, w) of both -> (batch,) float32.

    The mean squared difference of all pixels and of averages over 4×4, 2×2 and 1×1 regions (where that is coarser),
    each with half the weight of the one before; the weights sum to 1.
    """
    student, teacher = student.float(), teacher.float()
    loss, total, weight = (student - teacher).square().mean((1, 2, 3)), 1.0, 1.0
    for side in (4, 2, 1):
        if side < student.shape[-1]:
            weight /= 2
            total += weight
            difference = F.adaptive_avg_pool2d(student, side) - F.adaptive_avg_pool2d(teacher, side)
            loss = loss + weight * difference.square().mean((1, 2, 3))
    return loss / total


class ReviewKD(Term):
    """The sum of HCL over an exit's hint points; the deepest level belongs to the last exit.

    As in the published code, its weight rises over the first 20/240 of the training.
    """

    needs_features = True
    own_weights = True
    uncached = "ReviewKD compares features of the teacher, which no cache holds: each step also runs the teacher"

    def __init__(self, student: Arch, teacher: Arch) -> None:
        super().__init__()
        self.hints = match_hints(student, teacher)
        self.rectified = tuple(arch.exits[-1].head != "linear" for arch in (student, teacher))  # before averaging
        inputs = [student.blocks[block].width for block in self.hints.blocks]
        outputs = [teacher.blocks[block].width for block in self.hints.teacher_blocks]
        middle = min(MAX_MIDDLE, _read(student))
        self.levels = nn.ModuleList(ABF(i, middle, o, fuses=True) for i, o in zip(inputs, outputs, strict=True))
        self.deepest = ABF(_read(student), middle, _read(teacher), fuses=False)

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "ReviewKD":
        """See `Term.make`."""
        return cls(student.arch, with_features(section, teacher).arch)

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        targets = [step.teacher_features[j] for j in self.hints.teacher]
        with autocast_like(step.student_features[-1]):
            fused = self.fuse(step.student_features, [target.shape[-1] for target in targets])
        targets.append(_average(step.teacher_features[-1], rectified=self.rectified[1]))
        losses = [hcl(x, target) for x, target in zip(fused, targets, strict=True)]
        exits = (*self.hints.exits, self.hints.exits[-1])
        return rising(step.done, WARMUP) * mean_per_exit(zip(exits, losses, strict=True), weight)

    def fuse(self, features: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
        """The student's features at its hint points, then what its last classifier reads -> what is compared, with the
        teacher's channels and `sizes`, in the same order; the last has one pixel."""
        x, deeper = self.deepest(_average(features[-1], rectified=self.rectified[0]), None, 1)
        fused = [x]
        for level, size, own in reversed(list(zip(self.levels, sizes, features[:-1], strict=True))):
            x, deeper = level(own, deeper, size)
            fused.insert(0, x)
        return fused


def _average(features: Tensor, *, rectified: bool) -> Tensor:
    return (features.relu() if rectified else features).mean((2, 3), keepdim=True)


def _read(arch: Arch) -> int:
    """How many channels the last classifier averages."""
    return arch.head_widths[-1] or arch.blocks[-1].width
