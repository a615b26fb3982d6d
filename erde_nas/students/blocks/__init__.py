"""The block of each family, built from a `records.Block`: a pruned block is built the same way as a searched one.

A block takes the channels that enter it and its record, keeps every weight in convolutions and batch norms, and tells
with `channels()` how wide it is now.
"""

from collections.abc import Callable

from torch import nn

from erde_nas.records import Block
from erde_nas.students.blocks.common import conv_bn
from erde_nas.students.blocks.mobile import InvertedResidual, ShuffleUnit
from erde_nas.students.blocks.plain import PlainBlock
from erde_nas.students.blocks.residual import BasicBlock, Bottleneck, PreActivation

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
