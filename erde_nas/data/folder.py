"""A folder of the user's own images: one sub-folder per class, or train/ and test/ (or val/) with the classes inside.

With train/ and test/ the test images are those of test/, and val/ (if there) is the validation split; with train/ and
val/ alone val/ is the test split, as in ImageNet. Images that would fill the memory stay on the disk (`stream`).
"""

from pathlib import Path

import numpy as np

from erde_nas.data.images import SUFFIXES, check_sizes, count_channels, list_images, read_image, read_images
from erde_nas.data.pixels import fits_in_memory, on_disk
from erde_nas.data.raw import Raw
from erde_nas.errors import UserError
from erde_nas.recipe import DatasetSection
from erde_nas.records import Split


def read_folder(section: DatasetSection, data_dir: Path | None) -> Raw:
    """The images below `section.path` (relative to `data_dir` if given), classes in alphabetical order.

    Grayscale if every image is, else RGB. Raises UserError on empty classes and on images that cannot be used.
    """
    root = (data_dir or Path()) / Path(section.path or "").expanduser()
    if not root.is_dir():
        raise UserError(f"dataset.path: {root} is not a folder; name one with a sub-folder of images per class")
    parts = _parts(root)
    classes = tuple(folder.name for folder in _subfolders(parts["train"]))
    if len(classes) < 2:
        raise UserError(
            f"{parts['train']}: expected a sub-folder of images per class, at least 2, but got {len(classes)}"
        )
    listings = {part: _listing(folder, classes) for part, folder in parts.items()}
    splits = _splits(listings, section)
    return Raw(splits["train"], classes, test=splits.get("test"), validation=splits.get("validation"))


def _splits(listings: dict[str, list[tuple[Path, int]]], section: DatasetSection) -> dict[str, Split]:
    """The splits, their pixels in memory where all of them fit, else on the disk."""
    paths = [path for listing in listings.values() for path, _ in listing]  # all: one colour image makes all RGB
    channels = count_channels(paths)
    size = section.image_size or read_image(paths[0], channels=channels).shape[-1]
    bytes_ = len(paths) * channels * size**2
    if section.stream == "never" or (section.stream == "auto" and fits_in_memory(bytes_)):
        images = read_images(paths, channels=channels, size=section.image_size)
        ends = np.cumsum([len(listing) for listing in listings.values()])
        parts = dict(zip(listings, np.split(images, ends[:-1]), strict=True))
        return {part: Split(parts[part], _labels(listing)) for part, listing in listings.items()}
    if section.image_size is None:
        check_sizes(paths)
    shape = (channels, size, size)
    return {part: on_disk([path for path, _ in listing], _labels(listing), shape) for part, listing in listings.items()}


def _labels(listing: list[tuple[Path, int]]) -> np.ndarray:
    return np.array([label for _, label in listing], np.int64)


def _parts(root: Path) -> dict[str, Path]:
    """Which folder holds which split. A class that happens to be called 'train' is no split: it has no sub-folders."""
    train, test, val = (
        folder if folder.is_dir() and _subfolders(folder) else None
        for folder in (root / "train", root / "test", root / "val")
    )
    if train is None or (test is None and val is None):
        return {"train": root}
    parts = {"train": train, "test": test or val, "validation": val if test else None}
    return {part: folder for part, folder in parts.items() if folder is not None}


def _listing(part: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The images of one split with their labels."""
    listing: list[tuple[Path, int]] = []
    for folder in _subfolders(part):
        if folder.name not in classes:
            raise UserError(f"{folder}: class '{folder.name}' has no training images; remove it or add it to train/")
        paths = list_images(folder)
        if not paths:
            raise UserError(
                f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}), but found none; add some or remove it"
            )
        listing += [(path, classes.index(folder.name)) for path in paths]
    return listing


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
