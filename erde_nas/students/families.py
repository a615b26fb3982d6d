"""Families of architectures: a few stage-wise choices -> an explicit `records.Arch`.

The first stage keeps the resolution, each later one halves it in its first block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from erde_nas.records import Arch, Block, Exit


@dataclass(frozen=True)
class StageChoice:
    """What may vary in one stage. `expansion` belongs to mobilenet."""

    depth: int
    width: int
    kernel: int = 3
    expansion: int = 1


def _basic(inputs: int, stage: StageChoice, stride: int) -> Block:
    same = stride == 1 and inputs == stage.width
    return Block(stage.width, stage.width, 3, stride, "identity" if same else "projection")


def _inverted(inputs: int, stage: StageChoice, stride: int) -> Block:
    same = stride == 1 and inputs == stage.width
    return Block(stage.width, inputs * stage.expansion, stage.kernel, stride, "identity" if same else "none")


FAMILIES: dict[str, Callable[[int, StageChoice, int], Block]] = {"resnet": _basic, "mobilenet": _inverted}


def make_arch(
    family: str,
    *,
    image_shape: tuple[int, int, int],
    classes: int,
    stem: int,
    stages: Sequence[StageChoice],
    exits: Sequence[Exit],
) -> Arch:
    """An architecture for square images of shape (channels, size, size).

    `exits` holds the early exits and the last one, in any order; the last one must sit on the last block.
    Raises ValueError where it does not.
    """
    blocks: list[Block] = []
    inputs = stem
    for number, stage in enumerate(stages):
        for position in range(stage.depth):
            blocks.append(FAMILIES[family](inputs, stage, 2 if number > 0 and position == 0 else 1))
            inputs = stage.width
    ordered = tuple(sorted(exits, key=lambda exit_: exit_.block))
    if len({exit_.block for exit_ in ordered}) != len(ordered) or ordered[-1].block != len(blocks) - 1:
        raise ValueError(
            f"exits must sit on different blocks, the last on block {len(blocks) - 1}, but got "
            f"{[exit_.block for exit_ in ordered]}"
        )
    channels, size, _ = image_shape
    head_widths = tuple(blocks[exit_.block].width if exit_.head == "conv" else 0 for exit_ in ordered)
    return Arch(family, channels, size, classes, stem, tuple(blocks), ordered, head_widths)


def stage_ends(depths: Sequence[int]) -> list[int]:
    """Index of the last block of each stage."""
    return [sum(depths[: i + 1]) - 1 for i in range(len(depths))]


def without_early_exits(arch: Arch) -> Arch:
    """The same network with its last exit alone: the baseline that cannot stop early."""
    return Arch(
        arch.family,
        arch.in_channels,
        arch.image_size,
        arch.classes,
        arch.stem,
        arch.blocks,
        arch.exits[-1:],
        arch.head_widths[-1:],
    )
