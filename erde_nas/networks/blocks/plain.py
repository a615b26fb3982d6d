"""The block of a network without residual connections: VGG with batch norm, Simonyan & Zisserman, ICLR 2015."""

import torch
from torch import Tensor, nn

from erde_nas.networks.arch import Block
from erde_nas.networks.blocks.common import conv_bn, outputs


class PlainBlock(nn.Module):
    """Max pooling where there is a stride, then one k×k convolution, batch norm and ReLU."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        # Rounded up like every strided convolution here, so that an odd side leaves no row out.
        self.pool = nn.MaxPool2d(block.stride, ceil_mode=True) if block.stride > 1 else nn.Identity()
        self.conv = conv_bn(inputs, block.width, block.kernel)

    def channels(self) -> tuple[int, int]:
        """(width, 0): nothing is inside."""
        return outputs(self.conv), 0

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        return torch.relu(self.conv(self.pool(x)))
