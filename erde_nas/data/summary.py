"""What a user should know about a data set before it is used: its counts, and what looks wrong with its splits."""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.images import size_of
from erde_nas.device.bundle_runner import plain
from erde_nas.errors import UserError

_CLASSES = 12  # shown one by one
UNEVEN = 5  # times as many training images of one class as of another, from which on it is said
_END = 4096  # bytes of a file that are compared
PARTS = ("train", "validation", "test")


def describe_data(dataset: Dataset) -> list[str]:
    """Lines for the start of a run: how many images of which class in which split, and the data set's remarks."""
    return [*count_lines(dataset), *dataset.remarks]


def images_per_class(dataset: Dataset) -> dict[str, list[int]]:
    """By split the images of each class, in the order of `dataset.classes`."""
    return {part: np.bincount(getattr(dataset, part).labels, minlength=len(dataset.classes)).tolist() for part in PARTS}


def count_lines(dataset: Dataset) -> list[str]:
    """What the data set holds, in one line, and its images per class in another."""
    channels, height, width = dataset.train.images.shape[1:]
    sizes = ", ".join(f"{len(getattr(dataset, part))} {part}" for part in PARTS)
    counts = np.array(list(images_per_class(dataset).values()))  # (splits, classes)
    shown = [
        f"{plain(name)} {' + '.join(map(str, column))}"
        for name, column in zip(dataset.classes[:_CLASSES], counts.T.tolist(), strict=False)
    ]
    rest = counts[:, _CLASSES:].sum(0)
    more = f", and {len(rest)} more classes with {rest.min()} to {rest.max()} images each" if len(rest) else ""
    return [
        f"data: {dataset.name}, {len(dataset.classes)} classes, images {channels}x{height}x{width}: {sizes}",
        f"images per class ({' + '.join(PARTS)}): {', '.join(shown)}{more}",
    ]


def sizes_line(dataset: Dataset) -> list[str]:
    """The sizes of a folder's images before they are scaled, in a line; none for other data sets."""
    if dataset.name != "folder":
        return []
    splits = (getattr(dataset, part) for part in PARTS)
    files = [name for split in splits for name in (split.names if split.paths is None else split.paths)]
    found = Counter(size_of(Path(os.fsdecode(name))) for name in files)  # (height, width)
    (height, width), count = found.most_common(1)[0]
    if len(found) == 1:
        return [f"files: all are of {width}x{height} pixels"]
    least, most = (min(found, key=math.prod), max(found, key=math.prod))
    ends = f"from {least[1]}x{least[0]} to {most[1]}x{most[0]} pixels"
    return [f"files: {len(found)} sizes, {ends}; the commonest is {width}x{height} ({count} of {len(files)})"]


def _imbalance(train: Split, classes: tuple[str, ...]) -> list[str]:
    """Whether some class has many times as many training images as another; absent classes are said elsewhere."""
    counts = np.bincount(train.labels, minlength=len(classes))
    most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max()).argmin())
    if counts[most] < UNEVEN * counts[least]:
        return []
    return [
        f"the classes are uneven: {counts[most]} training images of {plain(classes[most])}, {counts[least]} of "
        f"{plain(classes[least])}; accuracy says little about small classes"
    ]


def odd_images(train: Split, validation: Split, test: Split, classes: tuple[str, ...]) -> list[str]:
    """Lines on images that are in two splits, or under two classes, or nearly all alike, and on classes that are left
    out or far smaller than others.

    Images in memory are compared by their pixels, files that stay on the disk by their bytes. Raises UserError where
    most images are under two classes.
    """
    splits = {"train": train, "validation": validation, "test": test}
    digests = dict(zip(splits, _digests(list(splits.values())), strict=True))
    lines = [
        line
        for first, second in (("train", "test"), ("train", "validation"), ("validation", "test"))
        if (line := _shared(first, second, splits, digests))
    ]
    lines += _two_classes(splits, digests)
    distinct = len(np.unique(digests["train"]))
    if train.paths is None and distinct <= len(train) / 2:
        lines.append(f"of {len(train)} training images only {distinct} are different: the others are copies of these")
    for part, split in splits.items():
        absent = [classes[i] for i in np.flatnonzero(np.bincount(split.labels, minlength=len(classes)) == 0)]
        if absent:
            lines.append(f"{part} has no image of {len(absent)} of {len(classes)} classes: {_few(absent)}")
    return lines + _imbalance(train, classes)


def _shared(first: str, second: str, splits: dict[str, Split], digests: dict[str, np.ndarray]) -> str:
    """How many images of the second split are also in the first, with two of them by name; empty where none is."""
    copies = np.flatnonzero(np.isin(digests[second], digests[first]))
    if not len(copies):
        return ""
    originals = [int(np.flatnonzero(digests[first] == digests[second][i])[0]) for i in copies[:2]]
    pairs = [
        (name_of(splits[second], i), name_of(splits[first], j))
        for i, j in zip(copies.tolist(), originals, strict=False)
    ]
    named = f" ({', '.join(' = '.join(pair) for pair in pairs)})" if all(map(all, pairs)) else ""
    return (
        f"{len(copies)} of {len(splits[second])} {second} images are also in {first}{named}: {second} accuracy says "
        "less about new images than it seems"
    )


def _two_classes(splits: dict[str, Split], digests: dict[str, np.ndarray]) -> list[str]:
    """Whether one and the same image is under two classes. Raises UserError where most are."""
    every = np.concatenate(list(digests.values()))
    labels = np.concatenate([split.labels for split in splits.values()])
    pairs = {(digest, label) for digest, label in zip(every.tolist(), labels.tolist(), strict=True)}
    twice = {digest for digest, count in Counter(digest for digest, _ in pairs).items() if count > 1}
    if not twice:
        return []
    places = [(part, i) for part in splits for i, digest in enumerate(digests[part].tolist()) if digest in twice]
    shown = _few([name for part, i in places if (name := name_of(splits[part], i))])
    if len(places) > len(every) / 2:
        raise UserError(
            f"{len(places)} of {len(every)} images are in more than one class{': ' + shown if shown else ''}: nobody "
            "could tell the classes apart by them; keep each image in one class"
        )
    return [f"{len(places)} images are in more than one class{': ' + shown if shown else ''}"]


def _digests(splits: Sequence[Split]) -> list[np.ndarray]:
    """A number for each image, (n,) uint64 for each split: equal for equal images.

    Files on the disk are read only where a file of another split has the same size, and the same end.
    """
    if all(split.paths is None for split in splits):
        return [_numbers(image.tobytes() for image in split.images) for split in splits]
    files = [[Path(os.fsdecode(name)) for name in split.paths] if split.paths is not None else [] for split in splits]
    contents = [[b"%d" % path.stat().st_size for path in of_split] for of_split in files]
    for read in (_end_of, Path.read_bytes):
        contents = _where_common(files, contents, read)
    return [_numbers(of_split) for of_split in contents]


def _where_common(
    files: list[list[Path]], contents: list[list[bytes]], read: Callable[[Path], bytes]
) -> list[list[bytes]]:
    """What `read` gives for the files whose `contents` are those of a file in another split; the others' own names."""
    seen = Counter(content for of_split in contents for content in set(of_split))
    return [
        [
            hashlib.blake2b(read(path)).digest() if seen[content] > 1 else b"/" + os.fsencode(path)
            for path, content in zip(*pair, strict=True)
        ]
        for pair in zip(files, contents, strict=True)
    ]


def _end_of(path: Path) -> bytes:
    """The size of a file and its last bytes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        return b"%d " % size + file.read()


def _numbers(contents: Iterable[bytes]) -> np.ndarray:
    digests = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(b"".join(digests), np.uint64)


def name_of(split: Split, index: int) -> str:
    """The name of an image, where it has one: of a file the last three parts of its path."""
    names = split.paths if split.paths is not None else split.names
    return "" if names is None else plain("/".join(Path(os.fsdecode(names[index])).parts[-3:]))


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(map(plain, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
