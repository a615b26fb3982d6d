"""A block of an architecture and the channels that enter it in, the module of its family out.

Every weight is in a convolution or a batch norm; `channels()` tells how wide the block is now, pruned or not.
"""

from torch import nn

from erde_nas.networks.arch import Block
from erde_nas.networks.families import family_of


def build_block(family: str, inputs: int, block: Block) -> nn.Module:
    """The module of one block for `inputs` channels."""
    return family_of(family).build(inputs, block)


def is_block(layer: nn.Module) -> bool:
    """Whether a layer of a network's body is one of its blocks, of whichever family."""
    return hasattr(layer, "channels")
