"""Splits whose pixels stay on the disk: `images` is empty but for its shape, `paths` names the files.

An image is read as (channels, size, size) uint8 whenever it is asked for; everything else treats such a split like
one in memory.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.images import read_images
from erde_nas.data.memory import available_bytes, readable
from erde_nas.errors import UserError

IN_MEMORY_SHARE = 0.25  # of the available memory: a view in the making needs the images, a padded copy and the result


def on_disk(paths: Sequence[Path], labels: np.ndarray, shape: tuple[int, int, int]) -> Split:
    """A split of image files that are read as `shape` (channels, size, size)."""
    return Split(np.empty((0, *shape), np.uint8), labels, file_names(paths))


def file_names(paths: Iterable[Path]) -> np.ndarray:
    """The names of files as bytes (n,): not objects, so that worker processes share these pages."""
    return np.array([os.fsencode(path) for path in paths])


def subset(split: Split, chosen: np.ndarray | slice) -> Split:
    """The images `chosen`, in that order; pixels that stay on the disk are not touched."""
    if split.paths is not None:
        return Split(split.images, split.labels[chosen], split.paths[chosen])
    names = None if split.names is None else split.names[chosen]
    return Split(split.images[chosen], split.labels[chosen], names=names)


def read_pixels(split: Split, chosen: np.ndarray | slice, threads: int | None = None) -> np.ndarray:
    """The images `chosen` as (m, channels, h, w) uint8, wherever they are. Raises UserError for a file that changed."""
    if split.paths is None:
        return split.images[chosen]
    paths = [Path(os.fsdecode(name)) for name in split.paths[chosen]]
    channels, height, width = split.images.shape[1:]
    size = (height, width)
    return read_images(paths, channels=channels, size=size, threads=threads) if paths else split.images


def pixel_bytes(split: Split) -> int:
    """Bytes of the split's decoded images."""
    return len(split) * int(np.prod(split.images.shape[1:]))


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes of training images can be kept in memory, and views be made of them."""
    return size <= IN_MEMORY_SHARE * available_bytes()


def in_memory(split: Split, part: str) -> Split:
    """The same split with its pixels read. Raises UserError that names `part` where they do not fit."""
    if split.paths is None:
        return split
    size, available = pixel_bytes(split), available_bytes()
    if size > available / 2:
        raise UserError(
            f"the {part} images need {readable(size)}, more than half of the {readable(available)} of memory that are "
            f"left; lower dataset.{part} or dataset.image_size (only training images are read while they are used)"
        )
    return Split(read_pixels(split, slice(None)), split.labels, names=split.paths)


def file_marks(paths: np.ndarray) -> Iterator[bytes]:
    """For each file its name below the folder that all share, its size and its time of change."""
    root = os.path.commonpath([min(paths), max(paths)])  # what these two share, all share
    for path in paths:
        status = os.stat(path)
        yield b"%s %d %d\n" % (path[len(root) :], status.st_size, status.st_mtime_ns)
