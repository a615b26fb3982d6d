"""What runs before the first block."""

from torch import nn

from erde_nas.networks.arch import Arch
from erde_nas.networks.blocks.common import conv_bn
from erde_nas.networks.families import family_of

SIDE = 2  # of the patches that a whitening stem looks at


class WhiteningConv(nn.Conv2d):
    """A convolution with filters that are not trained (see whitening.py); its biases are. It has no padding."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, SIDE, stride)
        self.weight.requires_grad = False


def build_stem(arch: Arch) -> tuple[nn.Sequential, int]:
    """The stem and the side of its output.

    Images above 48 pixels are halved at least once, those above 96 once more by pooling.
    """
    stride = max(arch.stem_stride, 1 if arch.image_size <= 48 else 2)
    family = family_of(arch.family)
    layers: list[nn.Module] = [*conv_bn(arch.in_channels, arch.stem, arch.stem_kernel, stride=stride), nn.ReLU()]
    if family.pre_activated:  # their norm and ReLU come first
        del layers[1:]
    size = -(-arch.image_size // stride)
    if family.whitened:
        layers = [WhiteningConv(arch.in_channels, arch.stem, stride), nn.GELU()]
        size = (arch.image_size - SIDE) // stride + 1
    if arch.image_size > 96:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        size = -(-size // 2)
    return nn.Sequential(*layers), size
