"""The recipe's `space`: what may vary between students."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from erde_nas.recipe.network import Expansion, Family, Head, Kernel, Stride, Width
from erde_nas.recipe.section import MOST_STAGES, Depth, Section

Kept = Annotated[float, Field(gt=0, le=1)]


class SpaceSection(Section):
    """What may vary between students. Lists hold the choices; depths, widths and strides have one list per stage."""

    later = ("own", "keep", "skip", "strides", "exits", "first_exit_stage")

    own: str | None = None
    """A network of your own that students are made of. Of the rest `keep`, `skip`, `heads`, `max_exits` count then."""
    keep: tuple[Kept, ...] = (0.5, 0.75, 1.0)
    """Shares of a stage's channels that a student keeps of `own`."""
    skip: bool = True
    """Whether residual blocks of `own` may be left out."""
    families: tuple[Family, ...] = ("resnet", "mobilenet")
    """Kinds of blocks."""
    stems: tuple[Width, ...] = (8, 16)
    """Channels of the first convolution."""
    stem_strides: tuple[Literal[1, 2, 4], ...] = (1,)
    """Strides of the first convolution, for images of at most 48 pixels."""
    depths: Annotated[tuple[tuple[Depth, ...], ...], Field(max_length=MOST_STAGES)] = ()
    """Blocks, with a list of choices for each stage."""
    widths: tuple[tuple[Width, ...], ...] = ()
    """Channels, with a list of choices for each stage."""
    strides: tuple[tuple[Stride, ...], ...] | None = None
    """Of each stage's first block, with a list of choices for each stage. null: 1, then 2 in each later stage."""
    kernels: tuple[Kernel, ...] = (3,)
    """Of the depthwise convolutions of `mobilenet` and `shufflenet`."""
    expansions: tuple[Expansion, ...] = (2, 4)
    """How many times wider `mobilenet`'s blocks are inside."""
    heads: tuple[Head, ...] = ("erde", "gap", "conv")
    """Kinds of exit heads."""
    max_exits: Annotated[int, Field(ge=1, le=8)] = 4
    """Exits of a student, at most, the last one included."""
    exits: Literal["any", "stage-ends"] = "any"
    """Blocks that may carry an early exit."""
    first_exit_stage: Annotated[int, Field(ge=0)] = 0
    """Stages before this one carry no exit, counted from 0."""

    @model_validator(mode="after")
    def _choices_everywhere(self) -> "SpaceSection":
        if self.own is not None and (self.depths or self.widths):
            raise ValueError("own is a network with depths and widths of its own; remove depths and widths")
        if self.own is None and not (self.skip and self.keep == type(self).model_fields["keep"].default):
            raise ValueError("keep and skip are of a network of your own; add own, or remove them")
        if len(self.depths) != len(self.widths) or not (self.depths or self.own):
            raise ValueError(
                "depths and widths need one list of choices per stage, "
                f"but got {len(self.depths)} and {len(self.widths)}"
            )
        named = {
            key: getattr(self, key)
            for key in ("families", "stems", "stem_strides", "kernels", "expansions", "heads", "keep")
        }
        named |= {f"depths[{i}]": c for i, c in enumerate(self.depths)}
        named |= {f"widths[{i}]": c for i, c in enumerate(self.widths)}
        named |= {f"strides[{i}]": c for i, c in enumerate(self.strides or ())}
        for key, choices in named.items():
            if not choices or len(set(choices)) != len(choices):
                raise ValueError(f"{key} must hold at least one choice and none twice, but got {list(choices)}")
        return self

    @model_validator(mode="after")
    def _stages_that_differ(self) -> "SpaceSection":
        if self.strides is None:
            return self
        if len(self.strides) != len(self.depths):
            raise ValueError(
                f"strides needs one list of choices per stage, but {len(self.strides)} are for {len(self.depths)}"
            )
        for stage in range(1, len(self.strides)):
            both = sorted(set(self.widths[stage - 1]) & set(self.widths[stage]))
            if 1 in self.strides[stage] and both:
                raise ValueError(
                    f"a stage that keeps the resolution needs other widths than the one before it, but widths[{stage}] "
                    f"and widths[{stage - 1}] both hold {', '.join(map(str, both))}; more blocks of the same width "
                    f"belong into depths[{stage - 1}]"
                )
        return self

    @model_validator(mode="after")
    def _room_for_exits(self) -> "SpaceSection":
        last = len(self.depths) - (2 if self.exits == "stage-ends" else 1)
        if self.max_exits > 1 and self.first_exit_stage > max(0, last):
            raise ValueError(
                f"first_exit_stage must be at most {max(0, last)}, or no block is left for an early exit, but is "
                f"{self.first_exit_stage}; or set max_exits: 1"
            )
        return self
