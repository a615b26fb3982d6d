"""The recipe's description of one network, and the architecture that it means."""

from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from erde_nas.networks.arch import Arch
from erde_nas.networks.families import StageChoice, stage_ends
from erde_nas.networks.models import MODELS, Model, model_arch
from erde_nas.recipe.section import MOST_STAGES, Depth, Section, one_of
from erde_nas.registry import FAMILIES, HEADS

Width = Annotated[int, Field(ge=8, le=8192, multiple_of=8)]
Kernel = Literal[3, 5, 7]
Stride = Literal[1, 2]
Expansion = Annotated[int, Field(ge=1, le=8)]
Head = Annotated[str, one_of(HEADS)]
Family = Annotated[str, one_of(FAMILIES)]
ModelName = Annotated[str, one_of(MODELS)]
OWN = ("family", "stem", "depths", "widths", "strides", "kernel", "expansion")  # keys that say what a model says


def _exits(value: Any) -> Any:
    if isinstance(value, list | tuple):
        blocks = all(type(block) is int and block >= 0 for block in value)
        if blocks and len(set(value)) == len(value) > 0:
            return tuple(value)
    elif value in ("stages", "last"):
        return value
    raise ValueError(
        f"should be stages, last, or a list of different blocks, counted from 0, such as [0, 2] (got {value!r})"
    )


# Checked by hand: pydantic would answer a mistake with an error for each part of the union.
Exits = Annotated[
    Literal["stages", "last"] | tuple[int, ...], PlainValidator(_exits), PlainSerializer(lambda exits: exits)
]


class NetworkSection(Section):
    """A named network, or one of a family by its stages: the first keeps the resolution, each later one halves it,
    unless `strides` says otherwise.

    The last exit sits on the last block. A named network ends as it was published, whatever `head` says: `head` is
    that of the exits before.
    """

    later: ClassVar[tuple[str, ...]] = ("strides",)

    model: ModelName | None = None
    """A network of the literature, instead of the keys from `family` to `expansion`."""
    family: Family = "resnet"
    """Kind of blocks."""
    stem: Width
    """Channels of the first convolution."""
    depths: Annotated[tuple[Depth, ...], Field(max_length=MOST_STAGES)]
    """Blocks of each stage."""
    widths: tuple[Width, ...]
    """Channels of each stage, in multiples of 8."""
    strides: tuple[Stride, ...] | None = None
    """Of each stage's first block. null: 1, and 2 in each later stage."""
    kernel: Kernel = 3
    """Of the depthwise convolutions of `mobilenet` and `shufflenet`."""
    expansion: Expansion = 1
    """How many times wider `mobilenet`'s blocks are inside."""
    exits: Exits = "stages"
    """Where exits sit: at the end of each stage, on the last block alone, or on these blocks, counted from 0."""
    head: Head
    """Of the exits."""

    @model_validator(mode="after")
    def _one_description(self) -> "NetworkSection":
        both = [key for key in OWN if key in self.model_fields_set]
        if self.model is not None and both:
            raise ValueError(
                f"model: {self.model} says what {', '.join(both)} would say; remove model, or remove {', '.join(both)}"
            )
        if len(self.depths) != len(self.widths) or not self.depths:
            raise ValueError(
                "depths and widths need one number per stage, and at least one stage, "
                f"but got {len(self.depths)} and {len(self.widths)}"
            )
        if self.strides is not None and len(self.strides) != len(self.depths):
            raise ValueError(
                f"strides needs one number per stage, but holds {len(self.strides)} for {len(self.depths)} stages"
            )
        last = len(self.network.blocks) - 1
        if not isinstance(self.exits, str) and max(self.exits) > last:
            raise ValueError(f"exits must be blocks from 0 to {last}, but got {list(self.exits)}")
        return self

    @model_serializer(mode="wrap")
    def _without_what_the_model_says(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = self._without_later(handler(self))
        return {key: value for key, value in values.items() if self.model is None or key not in OWN}

    @property
    def network(self) -> Model:
        """The network without its early exits."""
        if self.model is not None:
            return MODELS[self.model]
        strides = self.strides or [None] * len(self.depths)
        stages = [
            StageChoice(depth, width, self.kernel, self.expansion, stride)
            for depth, width, stride in zip(self.depths, self.widths, strides, strict=True)
        ]
        return Model(self.family, self.stem, tuple(stages), self.head)

    @property
    def stage_ends(self) -> list[int]:
        """The last block of each stage; of a named network, of each resolution."""
        if self.model is not None:
            return stage_ends(self.network.blocks)
        return [blocks - 1 for blocks in accumulate(self.depths)]


class StudentSection(NetworkSection):
    """One student, described rather than searched: what `erde-nas distil` trains."""

    stem: Width = 16
    depths: Annotated[tuple[Depth, ...], Field(max_length=MOST_STAGES)] = (1, 1, 1)
    widths: tuple[Width, ...] = (16, 32, 64)
    expansion: Expansion = 4
    head: Head = "erde"


def student_arch(section: NetworkSection, image_shape: tuple[int, int, int], classes: int) -> Arch:
    """The architecture that a student's or a teacher's section describes, for images (channels, size, size)."""
    model = section.network
    blocks = model.blocks
    if isinstance(section.exits, str):
        places = section.stage_ends if section.exits == "stages" else []
    else:
        places = list(section.exits)
    early = [block for block in places if block != len(blocks) - 1]
    return model_arch(model, image_shape=image_shape, classes=classes, early=early, head=section.head)
