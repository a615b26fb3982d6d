"""The block of airbench's networks (Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024, arXiv 2404.00498).

A stage is a convolution, max pooling and a batch norm with GELU, then convolutions with batch norm and GELU: each of
them is a block here, so that a stage's depth counts its convolutions. Convolutions start as the identity on as many
channels as they have inputs, and batch norms have no scale.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.networks.arch import Block


class PooledBlock(nn.Module):
    """One k×k convolution, max pooling where there is a stride (a last odd row is left out), batch norm, GELU."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.stride = block.stride
        self.conv = nn.Conv2d(inputs, block.width, block.kernel, padding=block.kernel // 2, bias=False)
        with torch.no_grad():
            nn.init.dirac_(self.conv.weight[:inputs])
        self.norm = nn.BatchNorm2d(block.width)
        self.norm.weight.requires_grad = False  # 1, always

    def channels(self) -> tuple[int, int]:
        """(width, 0): nothing is inside."""
        return self.conv.out_channels, 0

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, h // stride, w // stride), where a side of 1 stays."""
        y = self.conv(x)
        pool = self.stride if y.shape[-1] >= self.stride else 1
        if pool == 1:
            return F.gelu(self.norm(y))
        if self.norm.training:  # its statistics are those of what pooling leaves
            return F.gelu(self.norm(F.max_pool2d(y, pool)))
        return F.gelu(F.max_pool2d(self.norm(y), pool))  # the same, for its scale is positive; files fold it into conv
