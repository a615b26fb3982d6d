"""A block of an architecture and the channels that enter it in, the module of its family out.

Every weight is in a convolution or a batch norm; `channels()` tells how wide the block is now, pruned or not.
"""

from collections.abc import Callable

from torch import nn

from erde_nas.networks.arch import Block
from erde_nas.networks.blocks.common import conv_bn
from erde_nas.networks.blocks.mobile import InvertedResidual, ShuffleUnit
from erde_nas.networks.blocks.plain import PlainBlock
from erde_nas.networks.blocks.residual import BasicBlock, Bottleneck, PreActivation

BLOCKS: dict[str, Callable[[int, Block], nn.Module]] = {
    "resnet": BasicBlock,
    "wrn": PreActivation,
    "bottleneck": Bottleneck,
    "vgg": PlainBlock,
    "mobilenet": InvertedResidual,
    "shufflenet": ShuffleUnit,
}
BLOCK_CLASSES = (BasicBlock, PreActivation, Bottleneck, PlainBlock, InvertedResidual, ShuffleUnit)

__all__ = [
    "BLOCKS",
    "BLOCK_CLASSES",
    "BasicBlock",
    "Bottleneck",
    "InvertedResidual",
    "PlainBlock",
    "PreActivation",
    "ShuffleUnit",
    "conv_bn",
]
