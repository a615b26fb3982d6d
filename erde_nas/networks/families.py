"""Families of architectures: a few stage-wise choices -> an explicit `Arch`.

If nothing else is said, the first stage keeps the resolution and each later one halves it in its first block. In
`airbench` the first one halves it, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from erde_nas.networks.arch import Arch, Block, Exit
from erde_nas.registry import FAMILIES, HEADS, load

if TYPE_CHECKING:
    from torch import nn

INNER = 4  # times as many channels leave a bottleneck as are inside it


@dataclass(frozen=True)
class StageChoice:
    """What may vary in one stage. `kernel` belongs to mobilenet and shufflenet, `expansion` to mobilenet."""

    depth: int
    width: int
    kernel: int = 3
    expansion: int = 1
    stride: int | None = None  # of its first block; None: that of the family in the first stage, 2 in the others


def _basic(inputs: int, stage: StageChoice, stride: int) -> Block:
    same = stride == 1 and inputs == stage.width
    return Block(stage.width, stage.width, 3, stride, "identity" if same else "projection")


def _bottleneck(inputs: int, stage: StageChoice, stride: int) -> Block:
    same = stride == 1 and inputs == stage.width
    hidden = -(-stage.width // (8 * INNER)) * 8  # in whole multiples of 8, which run fastest
    return Block(stage.width, hidden, 3, stride, "identity" if same else "projection")


def _plain(inputs: int, stage: StageChoice, stride: int) -> Block:
    return Block(stage.width, 0, 3, stride, "none")


def _inverted(inputs: int, stage: StageChoice, stride: int) -> Block:
    same = stride == 1 and inputs == stage.width
    return Block(stage.width, inputs * stage.expansion, stage.kernel, stride, "identity" if same else "none")


def _shuffle(inputs: int, stage: StageChoice, stride: int) -> Block:
    same = stride == 1 and inputs == stage.width
    return Block(stage.width, stage.width // 2, stage.kernel, stride, "identity" if same else "projection")


@dataclass(frozen=True)
class Family:
    """Networks of one kind of block.

    `block` gives the shape of a block from the channels that enter it, its stage and its stride. `module` is the class
    that is built from (channels that enter, `Block`), or where it is, as "module:attribute", so that shapes alone need
    no torch. Its `channels()` are (width, hidden), and it rounds an odd side up where it halves it.
    """

    block: Callable[[int, StageChoice, int], Block]
    module: Any
    kernels: bool = False  # whether a stage's `kernel` matters
    expansions: bool = False  # whether its `expansion` does
    slices: bool = True  # whether a narrower network may use the first channels of a wider one's weights
    pre_activated: bool = False  # its blocks normalise what they get: its stem is a convolution alone
    kaiming: bool = True  # a published network's convolutions start as Kaiming's, not as torch's
    small_classifier: bool = False  # and its classifier with a deviation of 0.01
    no_bias: bool = False  # and with biases of 0
    first_stride: int = 1  # of the first stage, where nothing else is said
    whitened: bool = False  # its stem is filters computed from the images, two for each pixel of a 2×2 patch at most
    floors: bool = False  # a block that halves an odd side leaves its last row out, instead of rounding up

    def side(self, side: int, stride: int) -> int:
        """The side of the features (pixels) behind a block with that stride."""
        return max(1, side // stride) if self.floors else -(-side // stride)

    def stem(self, channels: int, wanted: int) -> int:
        """The channels of the stem for images of so many channels."""
        return min(wanted, 8 * channels) if self.whitened else wanted

    def build(self, inputs: int, block: Block) -> "nn.Module":
        """The block as a module, for `inputs` channels."""
        module = load(self.module) if isinstance(self.module, str) else self.module
        return cast("nn.Module", module(inputs, block))


RESNET = Family(_basic, "erde_nas.networks.blocks.residual:BasicBlock")
WRN = Family(_basic, "erde_nas.networks.blocks.residual:PreActivation", pre_activated=True, no_bias=True)
BOTTLENECK = Family(_bottleneck, "erde_nas.networks.blocks.residual:Bottleneck")
VGG = Family(_plain, "erde_nas.networks.blocks.plain:PlainBlock", small_classifier=True, no_bias=True)
MOBILENET = Family(
    _inverted,
    "erde_nas.networks.blocks.mobile:InvertedResidual",
    kernels=True,
    expansions=True,
    small_classifier=True,
    no_bias=True,
)
SHUFFLENET = Family(_shuffle, "erde_nas.networks.blocks.mobile:ShuffleUnit", kernels=True, slices=False, kaiming=False)
AIRBENCH = Family(
    _plain,
    "erde_nas.networks.blocks.pooled:PooledBlock",
    kaiming=False,
    first_stride=2,
    whitened=True,
    floors=True,
)


OWN = Family(_plain, None, slices=False, kaiming=False)  # the blocks are of the user's network


def family_of(name: str) -> Family:
    """The family of that name. Raises UserError for an unknown one."""
    return OWN if name == "own" else cast(Family, FAMILIES[name])


def head_width(kind: str, width: int) -> int:
    """The channels inside a head on a block of `width` channels, 0 where it has none."""
    return int(HEADS[kind].width * width)


def make_blocks(family: str, stem: int, stages: Sequence[StageChoice]) -> tuple[Block, ...]:
    """The blocks behind a stem with `stem` channels."""
    blocks: list[Block] = []
    inputs, kind = stem, family_of(family)
    for number, stage in enumerate(stages):
        first = stage.stride or (2 if number > 0 else kind.first_stride)
        for position in range(stage.depth):
            blocks.append(kind.block(inputs, stage, first if position == 0 else 1))
            inputs = stage.width
    return tuple(blocks)


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
    stem = family_of(family).stem(image_shape[0], stem)
    blocks = make_blocks(family, stem, stages)
    ordered = tuple(sorted(exits, key=lambda exit_: exit_.block))
    if len({exit_.block for exit_ in ordered}) != len(ordered) or ordered[-1].block != len(blocks) - 1:
        raise ValueError(
            f"exits must sit on different blocks, the last on block {len(blocks) - 1}, but got "
            f"{[exit_.block for exit_ in ordered]}"
        )
    channels, size, _ = image_shape
    head_widths = tuple(head_width(exit_.head, blocks[exit_.block].width) for exit_ in ordered)
    return Arch(family, channels, size, classes, stem, blocks, ordered, head_widths)


def stage_ends(blocks: Sequence[Block]) -> list[int]:
    """Index of the last block of each resolution."""
    return [number for number, after in enumerate(blocks[1:]) if after.stride > 1] + [len(blocks) - 1]


def last_blocks(arch: Arch) -> list[int]:
    """Index of the last block of each stage: of each resolution, if the architecture names no other stages."""
    last = len(arch.blocks) - 1
    return sorted({*(block for block in arch.hints if block < last), last}) if arch.hints else stage_ends(arch.blocks)


def with_exits(arch: Arch, kept: Sequence[int]) -> Arch:
    """The same network with the exits `kept` (numbers, rising) alone, up to the last of them."""
    exits = tuple(arch.exits[number] for number in kept)
    blocks = arch.blocks[: exits[-1].block + 1]
    return replace(arch, blocks=blocks, exits=exits, head_widths=tuple(arch.head_widths[number] for number in kept))


def without_early_exits(arch: Arch) -> Arch:
    """The same network with its last exit alone: the baseline that cannot stop early."""
    return with_exits(arch, [len(arch.exits) - 1])
