"""What the blocks are made of."""

from typing import cast

from torch import nn

from erde_nas.networks.arch import Block


def conv_bn(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias and its batch norm; the output size is ceil(input size / stride)."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def skip_path(inputs: int, block: Block) -> nn.Module | None:
    """What is added to a block's output: its input, a 1×1 convolution of it, or nothing."""
    if block.skip == "none":
        return None
    if block.skip == "projection":
        return conv_bn(inputs, block.width, 1, stride=block.stride)
    return nn.Identity()


def outputs(layer: nn.Module) -> int:
    """The channels that leave a `conv_bn`."""
    return cast(nn.Conv2d, cast(nn.Sequential, layer)[0]).out_channels
