"""What runs before the first block."""

from torch import nn

from erde_nas.networks.arch import Arch
from erde_nas.networks.blocks.common import conv_bn
from erde_nas.networks.families import family_of


def build_stem(arch: Arch) -> tuple[nn.Sequential, int]:
    """The stem and the side of its output.

    Images above 48 pixels are halved at least once, those above 96 once more by pooling.
    """
    stride = max(arch.stem_stride, 1 if arch.image_size <= 48 else 2)
    layers = [*conv_bn(arch.in_channels, arch.stem, arch.stem_kernel, stride=stride), nn.ReLU()]
    if family_of(arch.family).pre_activated:  # their norm and ReLU come first
        del layers[1:]
    size = -(-arch.image_size // stride)
    if arch.image_size > 96:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        size = -(-size // 2)
    return nn.Sequential(*layers), size
