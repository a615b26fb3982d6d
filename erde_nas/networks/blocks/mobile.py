"""Blocks whose k×k convolutions are depthwise.

Sources: inverted residual, Sandler et al., CVPR 2018, fig. 4b (with ReLU in place of ReLU6, which int8 clips anyway);
shuffle unit, Ma et al., ECCV 2018, fig. 3c and 3d.
"""

import torch
from torch import Tensor, nn

from erde_nas.networks.arch import Block
from erde_nas.networks.blocks.common import conv_bn, outputs, skip_path


class InvertedResidual(nn.Module):
    """1×1 expansion to `hidden`, k×k depthwise, 1×1 projection to `width`; residual where the shapes agree."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.expand = conv_bn(inputs, block.hidden, 1)
        self.depthwise = conv_bn(block.hidden, block.hidden, block.kernel, stride=block.stride, groups=block.hidden)
        self.project = conv_bn(block.hidden, block.width, 1)
        self.skip = skip_path(inputs, block)

    def channels(self) -> tuple[int, int]:
        """(width, hidden)."""
        return outputs(self.project), outputs(self.expand)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        y = self.project(torch.relu(self.depthwise(torch.relu(self.expand(x)))))
        return y if self.skip is None else y + self.skip(x)


def shuffle(left: Tensor, right: Tensor) -> Tensor:
    """Two halves (batch, n, h, w) -> (batch, 2 n, h, w), channels taken from them in turn: left, right, left, ..."""
    return torch.stack((left, right), dim=2).flatten(1, 2)  # (batch, n, 2, h, w)


class ShuffleUnit(nn.Module):
    """Two branches of width / 2 channels each, shuffled.

    Skip `identity`: half of the input passes as it is, the other half goes through 1×1 to `hidden`, k×k depthwise and
    1×1 (fig. 3c). Skip `projection`: the whole input goes through that branch, and in the place of the passing half
    through k×k depthwise and 1×1 (fig. 3d). Raises ValueError where the halves would differ.
    """

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        half = block.width // 2
        self.splits = block.skip == "identity"
        if block.width % 2 or (self.splits and (inputs != block.width or block.stride != 1)):
            raise ValueError(
                f"a shuffle unit needs an even width, and to pass half of its input on the same shape, but got {block} "
                f"on {inputs} channels"
            )
        kernel, stride = block.kernel, block.stride
        self.passed = half if self.splits else 0
        self.left = (
            None
            if self.splits
            else nn.Sequential(conv_bn(inputs, inputs, kernel, stride=stride, groups=inputs), conv_bn(inputs, half, 1))
        )
        self.expand = conv_bn(inputs - self.passed, block.hidden, 1)
        self.depthwise = conv_bn(block.hidden, block.hidden, kernel, stride=stride, groups=block.hidden)
        self.project = conv_bn(block.hidden, half, 1)

    def channels(self) -> tuple[int, int]:
        """(width, hidden)."""
        return 2 * outputs(self.project), outputs(self.expand)

    def halves(self) -> list[nn.Conv2d]:
        """The convolutions that make the shuffled halves; a channel of theirs is a channel of every unit behind."""
        last = [self.project] if self.left is None else [self.project, self.left[1]]
        return [module for layer in last for module in layer.modules() if isinstance(module, nn.Conv2d)]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, width, ceil(h / stride), ceil(w / stride))."""
        if self.left is None:
            left, x = x[:, : self.passed], x[:, self.passed :]
        else:
            left = torch.relu(self.left(x))
        return shuffle(left, torch.relu(self.project(self.depthwise(torch.relu(self.expand(x))))))
