"""Residual blocks, built from a `records.Block`: a pruned block is built the same way as a searched one.

Sources: basic block, He et al., CVPR 2016, fig. 5 left; inverted residual, Sandler et al., CVPR 2018, fig. 4b (with
ReLU in place of ReLU6, which int8 clips anyway).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from erde_nas.records import Block


def conv_bn(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias and its batch norm; the output size is ceil(input size / stride)."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _skip(inputs: int, block: Block) -> nn.Module | None:
    if block.skip == "none":
        return None
    if block.skip == "projection":
        return conv_bn(inputs, block.width, 1, stride=block.stride)
    return nn.Identity()


class BasicBlock(nn.Module):
    """Two k×k convolutions: inputs -> hidden -> width, with a residual connection and a final ReLU."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.first = conv_bn(inputs, block.hidden, block.kernel, stride=block.stride)
        self.second = conv_bn(block.hidden, block.width, block.kernel)
        self.skip = _skip(inputs, block)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        y = self.second(torch.relu(self.first(x)))
        return torch.relu(y if self.skip is None else y + self.skip(x))


class InvertedResidual(nn.Module):
    """1×1 expansion to `hidden`, k×k depthwise, 1×1 projection to `width`; residual where the shapes agree."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.expand = conv_bn(inputs, block.hidden, 1)
        self.depthwise = conv_bn(block.hidden, block.hidden, block.kernel, stride=block.stride, groups=block.hidden)
        self.project = conv_bn(block.hidden, block.width, 1)
        self.skip = _skip(inputs, block)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        y = self.project(torch.relu(self.depthwise(torch.relu(self.expand(x)))))
        return y if self.skip is None else y + self.skip(x)


BLOCKS: dict[str, Callable[[int, Block], nn.Module]] = {"resnet": BasicBlock, "mobilenet": InvertedResidual}
BLOCK_CLASSES = (BasicBlock, InvertedResidual)
