"""What a reader hands to `load.py`: the images as they lie on the disk, not split any further."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.official import Source, damaged


@dataclass(frozen=True)
class Raw:
    """The splits that a data set brings along; None: to be split off train. `remarks`: lines that a user should see."""

    train: Split
    classes: tuple[str, ...]
    test: Split | None = None
    validation: Split | None = None
    remarks: tuple[str, ...] = ()


def official_split(images: np.ndarray, labels: np.ndarray, classes: int, path: Path, source: Source) -> Split:
    """A split of the images (n, c, h, w) and labels (n,) from `path`, checked. Raises UserError."""
    if len(images) != len(labels):
        raise damaged(path, f"expected one label for each of {len(images)} images, but got {len(labels)}", source)
    if len(labels) == 0:
        raise damaged(path, "expected images, but it holds none", source)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        first = wrong[0]
        raise damaged(path, f"labels must be 0..{classes - 1}, but image {first} has label {labels[first]}", source)
    return Split(images, labels.astype(np.int64))
