"""Residual blocks of full convolutions.

Sources: basic block, He et al., CVPR 2016, fig. 5 left; bottleneck, ibid. right, with the stride in its k×k convolution
as in the public code bases; pre-activation block, Zagoruyko & Komodakis, BMVC 2016, fig. 1(a).
"""

import torch
from torch import Tensor, nn

from erde_nas.networks.arch import Block
from erde_nas.networks.blocks.common import conv_bn, outputs, skip_path


class BasicBlock(nn.Module):
    """Two k×k convolutions: inputs -> hidden -> width, with a residual connection and a final ReLU."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.first = conv_bn(inputs, block.hidden, block.kernel, stride=block.stride)
        self.second = conv_bn(block.hidden, block.width, block.kernel)
        self.skip = skip_path(inputs, block)

    def channels(self) -> tuple[int, int]:
        """(width, hidden)."""
        return outputs(self.second), outputs(self.first)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        y = self.second(torch.relu(self.first(x)))
        return torch.relu(y if self.skip is None else y + self.skip(x))


class Bottleneck(nn.Module):
    """1×1 to `hidden`, k×k, 1×1 to `width`, with a residual connection and a final ReLU."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.reduce = conv_bn(inputs, block.hidden, 1)
        self.middle = conv_bn(block.hidden, block.hidden, block.kernel, stride=block.stride)
        self.restore = conv_bn(block.hidden, block.width, 1)
        self.skip = skip_path(inputs, block)

    def channels(self) -> tuple[int, int]:
        """(width, hidden)."""
        return outputs(self.restore), outputs(self.middle)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        y = self.restore(torch.relu(self.middle(torch.relu(self.reduce(x)))))
        return torch.relu(y if self.skip is None else y + self.skip(x))


class PreActivation(nn.Module):
    """Batch norm and ReLU before each of two k×k convolutions; the output is linear.

    A projection starts from the normalised input, the identity from the input itself.
    """

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(inputs)
        self.first = nn.Conv2d(inputs, block.hidden, block.kernel, block.stride, padding=block.kernel // 2, bias=False)
        self.second_norm = nn.BatchNorm2d(block.hidden)
        self.second = nn.Conv2d(block.hidden, block.width, block.kernel, padding=block.kernel // 2, bias=False)
        self.projection = (
            nn.Conv2d(inputs, block.width, 1, block.stride, bias=False) if block.skip == "projection" else None
        )
        self.identity = block.skip == "identity"

    def channels(self) -> tuple[int, int]:
        """(width, hidden)."""
        return self.second.out_channels, self.first.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        activated = torch.relu(self.first_norm(x))
        y = self.second(torch.relu(self.second_norm(self.first(activated))))
        if self.projection is not None:
            return y + self.projection(activated)
        return y + x if self.identity else y
