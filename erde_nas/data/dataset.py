"""A data set as the stages are handed it: three disjoint splits, of images in memory or on the disk."""

from dataclasses import dataclass

import numpy as np

from erde_nas.errors import UserError


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width) uint8 and labels (n,) int64.

    Where the images stay on the disk (`data/on_disk.py`), `images` is empty, (0, channels, height, width), and `paths`
    (n,) names the files as bytes. Validation and test are always in memory. Where images in memory have names, such as
    those of their files, `names` (n,) holds them as bytes.
    """

    images: np.ndarray
    labels: np.ndarray
    paths: np.ndarray | None = None
    names: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Disjoint splits of one data set. `mean` and `std` are per channel, of train, with pixels scaled to [0, 1]."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str  # hash of the pixels, the labels and the split
    remarks: tuple[str, ...] = ()  # what was taken for what, what was left out, what looks wrong: one line each


def image_shape(dataset: Dataset) -> tuple[int, int, int]:
    """(channels, height, width)."""
    channels, height, width = dataset.train.images.shape[1:]
    return channels, height, width


def square_shape(dataset: Dataset) -> tuple[int, int, int]:
    """(channels, size, size), as our families of networks need it. Raises UserError for images that are not square."""
    channels, height, width = image_shape(dataset)
    if height != width:
        raise UserError(
            f"the images of {dataset.name} are {width}x{height}, and students of our families take square ones; set "
            "dataset.image_size, or crop them. Exits on a network of your own (`erde-nas exits`) take them as they are"
        )
    return channels, height, width
