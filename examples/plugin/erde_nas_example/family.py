"""A family of depthwise separable convolutions: Howard et al., MobileNets, 2017 (arXiv 1704.04861), fig. 3."""

import torch
from torch import Tensor, nn

from erde_nas.networks.arch import Block
from erde_nas.networks.families import Family, StageChoice


def shape(inputs: int, stage: StageChoice, stride: int) -> Block:
    """The shape of one block of a stage: nothing is inside it that could be pruned by itself."""
    return Block(stage.width, 0, stage.kernel, stride, "none")


class Separable(nn.Module):
    """k×k depthwise, then 1×1 to `width`, each with a batch norm and a ReLU."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        padding = block.kernel // 2
        self.depthwise = nn.Conv2d(inputs, inputs, block.kernel, block.stride, padding, groups=inputs, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, block.width, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(block.width)

    def channels(self) -> tuple[int, int]:
        """(width, hidden), as they are now: pruning changes them."""
        return self.pointwise.out_channels, 0

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        x = torch.relu(self.depthwise_norm(self.depthwise(x)))
        return torch.relu(self.pointwise_norm(self.pointwise(x)))


SEPARABLE = Family(shape, Separable, kernels=True)
