"""A recipe's data set section -> Dataset: read, checked, split, measured and fingerprinted.

Training images of `folder` may stay on the disk; validation and test are in memory.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.kind import kind_of
from erde_nas.data.on_disk import file_marks, fits_in_memory, in_memory, pixel_bytes, read_pixels, subset
from erde_nas.data.raw import Raw
from erde_nas.data.split import hold_out, shuffle
from erde_nas.data.summary import images_per_class, odd_images
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection, takers

_CHUNK = 1024  # images whose pixels are counted at once; counting needs 8 bytes a pixel
SEEN = 0.1  # of the training images: what stands for validation where nothing is kept back
_SAMPLE = 8192  # images on the disk that give mean and standard deviation


def load_dataset(section: DatasetSection, data_dir: Path | None = None) -> Dataset:
    """The data set of a recipe, split by its seed. Raises UserError if files are missing, damaged or do not fit.

    `data_dir` holds the official files, or one of their official folders; None: the cache directory (`cache_dir`).
    The same files and section give the same `Dataset`; `train_limit` shortens splits and never moves an image.
    """
    kind = kind_of(section.name)
    for key in ("image_size", "stream"):
        value = getattr(section, key)
        if key not in kind.keys and value != DatasetSection.model_fields[key].default:
            raise UserError(f"dataset.{key} belongs to {takers(key)}, not to '{section.name}', but is {value}")
    raw = kind.read(section, data_dir)
    _check_images(raw, section)
    train, validation, test = _splits(raw, section)
    odd = odd_images(train, validation, test, raw.classes)
    validation, test = in_memory(validation, "validation"), in_memory(test, "test")
    if section.stream == "auto" and fits_in_memory(pixel_bytes(train)):  # what is left of them may fit
        train = in_memory(train, "train")
    mean, std = _channel_statistics(train, may_be_constant=section.channels in (2, 4))
    return Dataset(
        name=section.name,
        train=train,
        validation=validation,
        test=test,
        classes=raw.classes,
        mean=mean,
        std=std,
        fingerprint=_fingerprint(train, validation, test),
        remarks=(*raw.remarks, *odd),
    )


def read_all(dataset: Dataset) -> None:
    """Read every image that stays on the disk. Raises UserError for those that cannot be read."""
    for start in range(0, len(dataset.train), _CHUNK):
        read_pixels(dataset.train, slice(start, start + _CHUNK))


def describe(dataset: Dataset) -> dict[str, Any]:
    """The data set and its split as JSON-ready values, for manifests and reports."""
    _, channels, height, width = dataset.train.images.shape
    return {
        "name": dataset.name,
        "classes": list(dataset.classes),
        "channels": channels,
        "image_size": height if height == width else [height, width],
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
        "images_per_class": images_per_class(dataset),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "fingerprint": dataset.fingerprint,
        "remarks": list(dataset.remarks),
    }


def _check_images(raw: Raw, section: DatasetSection) -> None:
    shape = raw.train.images.shape[1:]
    for part, split in (("test", raw.test), ("validation", raw.validation)):
        if split is not None and split.images.shape[1:] != shape:
            raise UserError(
                f"data set '{section.name}': {part} images must be {shape} like those of train "
                f"(channels, height, width), but are {split.images.shape[1:]}"
            )


def _splits(raw: Raw, section: DatasetSection) -> tuple[Split, Split, Split]:
    """(train, validation, test). Test is split off first, so that no other setting can move an image into it.

    With `validation: 0` nothing is kept back: validation is then a fair sample of the training images themselves.
    """
    test_rng, validation_rng = np.random.default_rng(section.seed).spawn(2)
    train, validation, test = raw.train, raw.validation, raw.test
    if test is None:
        train, test = hold_out(train, section.test, "test", raw.classes, test_rng)
    if validation is None and section.validation == 0:
        train = shuffle(train, validation_rng)
        validation = _first(train, math.ceil(SEEN * len(train)))
    elif validation is None:
        train, validation = hold_out(train, section.validation, "validation", raw.classes, validation_rng)
    else:
        train, validation = shuffle(train, validation_rng), shuffle(validation, validation_rng)
    if section.train_limit is None:
        return train, validation, test
    if section.train_limit < len(raw.classes):
        raise UserError(
            f"dataset.train_limit must be at least {len(raw.classes)}, one image per class of '{section.name}', "
            f"but is {section.train_limit}"
        )
    # Rounded first because 90 * 0.1 / 0.9 is a hair more than 10.
    share = section.validation / (1 - section.validation) if section.validation else SEEN
    limit = math.ceil(round(section.train_limit * share, 6))
    return _first(train, section.train_limit), _first(validation, limit), test


def _first(split: Split, count: int) -> Split:
    """The first images, a fair sample because splits are interleaved; copied, so that the rest can be freed."""
    return split if len(split) <= count else subset(split, np.arange(count))


def _channel_statistics(train: Split, may_be_constant: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, with pixels scaled to [0, 1].

    Exact for images in memory, else over the first ones: a fair sample, because splits are interleaved. Channels that
    `may_be_constant`, as the colours of icons beside their alpha channel, get a deviation of 1. Raises UserError for
    others that are.
    """
    channels = train.images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(train) if train.paths is None else min(_SAMPLE, len(train)), _CHUNK):
        images = read_pixels(train, slice(start, start + _CHUNK))
        for channel in range(channels):
            counts[channel] += np.bincount(images[:, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)  # (c, 256)
    mean = shares @ values  # (c,)
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))  # (c,)
    if may_be_constant and std.any():
        std[std == 0] = 1
    if (flat := np.flatnonzero(std == 0)).size:
        raise UserError(f"channel {flat[0]} has one and the same value in all training images; leave the channel out")
    return tuple(mean.tolist()), tuple(std.tolist())


def _fingerprint(*splits: Split) -> str:
    """SHA-256 over shapes, pixels and labels of the splits in their order, so over the split itself too.

    Of images on the disk not the pixels count, which would take an epoch to read, but the files' names, sizes and
    times of change: a copy of them is another data set.
    """
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((len(split), *split.images.shape[1:])).encode())
        if split.paths is None:
            digest.update(np.ascontiguousarray(split.images).reshape(-1).data)
        else:
            for line in file_marks(split.paths):
                digest.update(line)
        digest.update(split.labels.astype("<i8").data)
    return digest.hexdigest()
