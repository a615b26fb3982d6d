"""The recipe's `dataset` and `views`: which images, how they are split and augmented."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from erde_nas.recipe.section import Positive, Section, Seed, one_of
from erde_nas.registry import DATASETS

Fraction = Annotated[float, Field(gt=0, lt=1)]


def takers(key: str) -> str:
    """The data sets that take a key of the section, in words."""
    return " and ".join(name for name in DATASETS if key in DATASETS[name].keys)


class DatasetSection(Section):
    """Which images, and how they are split."""

    later = ("channels",)

    name: Annotated[str, one_of(DATASETS)]
    path: str | None = None  # folder and npz: where the images are
    image_size: Annotated[int, Field(ge=8, le=512)] | None = None  # folder: resize to this
    channels: Literal[1, 2, 3, 4] | None = None  # folder: gray, gray and alpha, RGB, RGB and alpha; None: 1 or 3
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of train kept for search and thresholds; 0: none
    test: Fraction = 0.2  # share kept for test, where the data set has no test split of its own
    train_limit: Positive | None = None  # use at most this many training images
    stream: Literal["auto", "always", "never"] = "auto"  # folder: read images while they are used; auto: if many
    seed: Seed = 0

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
    crop_fill: Literal["zeros", "reflect"] = "zeros"  # what the padding holds: black, or the image mirrored
    flip: Flip = False  # or alternating: each image is mirrored in every second view, half of them in the first
    cutout: Annotated[int, Field(ge=0, le=512)] = 0
    cached_views: Positive = 8  # different views of each training image; epochs cycle through them
