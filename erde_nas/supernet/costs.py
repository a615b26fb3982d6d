"""MACs per exit of an architecture without building it whole: its parts are counted once and remembered.

A training draws a new architecture in every step and needs the relative depth of its exits; `measure.macs` alone would
take as long as the step.
"""

from dataclasses import replace
from functools import cache

import torch

from erde_nas.measure.macs import count_own_macs
from erde_nas.records import Arch, Block
from erde_nas.students.blocks import BLOCKS
from erde_nas.students.heads import build_head
from erde_nas.students.stem import build_stem


def exit_macs(arch: Arch) -> tuple[int, ...]:
    """What `measure.macs.macs_per_exit` says of the network that `arch` means."""
    total, size = _stem(replace(arch, blocks=(), exits=(), head_widths=()))
    heads = {exit_.block: (exit_.head, width) for exit_, width in zip(arch.exits, arch.head_widths, strict=True)}
    inputs, counts = arch.stem, []
    for number, block in enumerate(arch.blocks):
        total += _block(arch.family, inputs, block, size)
        inputs, size = block.width, -(-size // block.stride)
        if number in heads:
            kind, width = heads[number]
            total += _head(kind, inputs, size, arch.classes, width)
            counts.append(total)
    return tuple(counts)


@cache
def _stem(arch: Arch) -> tuple[int, int]:
    """MACs and the side of the output; `arch` has no blocks."""
    stem, size = build_stem(arch)
    return count_own_macs(stem.eval(), torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size)), size


@cache
def _block(family: str, inputs: int, block: Block, size: int) -> int:
    return count_own_macs(BLOCKS[family](inputs, block).eval(), torch.zeros(1, inputs, size, size))


@cache
def _head(kind: str, inputs: int, size: int, classes: int, width: int) -> int:
    head = build_head(kind, channels=inputs, size=size, classes=classes, width=width)
    return count_own_macs(head.eval(), torch.zeros(1, inputs, size, size))
