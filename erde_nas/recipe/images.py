"""The recipe's `dataset` and `views`: which images, how they are split and augmented."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from erde_nas.recipe.section import Positive, Section, Seed, one_of
from erde_nas.registry import DATASETS

Fraction = Annotated[float, Field(gt=0, lt=1)]


Side = Annotated[int, Field(ge=8, le=512)]


def _image_size(value: Any) -> Any:
    both = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    if value is not None and not all(
        isinstance(side, int) and not isinstance(side, bool) and 8 <= side <= 512 for side in both
    ):
        raise ValueError(f"should be a number of pixels from 8 to 512, or [height, width] (got {value!r})")
    return tuple(both) if len(both) == 2 and both[0] != both[1] else both[0]


# Checked by hand: pydantic would answer a mistake with an error for each part of the union.
ImageSize = Annotated[
    Side | tuple[Side, Side] | None,
    PlainValidator(_image_size),
    PlainSerializer(lambda size: list(size) if isinstance(size, tuple) else size),
]


def takers(key: str) -> str:
    """The data sets that take a key of the section, in words."""
    return " and ".join(name for name in DATASETS if key in DATASETS[name].keys)


class DatasetSection(Section):
    """Which images, and how they are split."""

    later = ("channels",)

    name: Annotated[str, one_of(DATASETS)]
    """A data set by name, or `folder` or `npz` for images of your own."""
    path: str | None = None
    """Where the images are. For `folder` and `npz`."""
    image_size: ImageSize = None
    """Pixels that images are scaled to: a side, or [height, width]. For `folder`; null: the one size that they have."""
    channels: Literal[1, 2, 3, 4] | None = None
    """1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha. For `folder`; null: 1 or 3, as the images are."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training images that is kept for the search and the thresholds. 0: none is kept."""
    test: Fraction = 0.2
    """Share that is kept for test, where the data set has no test split of its own."""
    train_limit: Positive | None = None
    """Use at most so many training images."""
    stream: Literal["auto", "always", "never"] = "auto"
    """Read images while they are used. For `folder`; `auto`: where they would fill a quarter of the free memory."""
    seed: Seed = 0
    """Of the split."""

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width that images are scaled to; None: they stay as they are."""
        if self.image_size is None:
            return None
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @model_validator(mode="after")
    def _path_where_needed(self) -> "DatasetSection":
        keys = DATASETS[self.name].keys
        if "path" in keys and self.path is None:
            raise ValueError(f"data set '{self.name}' needs path: say where the images are")
        if "path" not in keys and self.path is not None:
            raise ValueError(f"path belongs to {takers('path')}, not to '{self.name}'; use --data-dir")
        if "channels" not in keys and self.channels is not None:
            raise ValueError(
                f"channels belongs to {takers('channels')}, not to '{self.name}', whose images say how many they have"
            )
        return self


def _flip(value: Any) -> Any:
    if isinstance(value, bool) or value == "alternating":
        return value
    raise ValueError(f"should be true, false or alternating (got {value!r})")


# Checked by hand: pydantic would answer a mistake with an error for each part of the union.
Flip = Annotated[bool | Literal["alternating"], PlainValidator(_flip), PlainSerializer(lambda flip: flip)]


class ViewsSection(Section):
    """Augmentation, made once per view for all candidates."""

    later = ("crop_fill",)

    crop_padding: Annotated[int, Field(ge=0, le=512)] = 0
    """Pixels added on each side before a random crop. 0: no crop."""
    crop_fill: Literal["zeros", "reflect"] = "zeros"
    """What the padding holds: black, or the mirrored image."""
    flip: Flip = False
    """Mirror left and right at random. `alternating`: each image in every second view."""
    cutout: Annotated[int, Field(ge=0, le=512)] = 0
    """Side in pixels of a square that is blanked at a random place. 0: none."""
    cached_views: Positive = 8
    """Different views of each training image. The epochs cycle through them."""
