"""A folder of the user's own images, as `layout` finds classes and splits in it.

Images that would fill the memory stay on the disk (`stream`).
"""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.images import check_sizes, is_grayscale, list_images, read_image, read_images, size_of
from erde_nas.data.kind import DatasetKind
from erde_nas.data.layout import find_layout
from erde_nas.data.on_disk import file_names, fits_in_memory, on_disk
from erde_nas.data.raw import Raw
from erde_nas.data.transparency import about_alpha, spread
from erde_nas.device.bundle_runner import names
from erde_nas.errors import DataMissing, UserError
from erde_nas.files import expanded
from erde_nas.recipe.images import DatasetSection

_SIDES = (32, 48, 64, 96)
_HEADERS = 2000  # images whose sizes are looked at, evenly over all


def read_folder(section: DatasetSection, data_dir: Path | None) -> Raw:
    """The images below `section.path` (relative to `data_dir` if given), classes in alphabetical order.

    Grayscale if every image is, else RGB, where `section.channels` says nothing. Raises UserError on a layout that is
    not clear, on empty classes and on images that cannot be used.
    """
    root = (data_dir or Path()) / expanded(section.path or "")
    if not root.is_dir():
        kind = UserError if root.exists() else DataMissing
        raise kind(f"dataset.path: {root} is not a folder; name one with a sub-folder of images per class")
    layout = find_layout(root)
    paths = [path for listing in layout.listings.values() for path, _ in listing]  # all: one colour image makes all RGB
    gray = [path for path in paths if is_grayscale(path)] if section.channels is None else []
    channels = section.channels or (1 if len(gray) == len(paths) else 3)
    said = (*_about_kinds(paths, gray, section, root), *about_alpha(paths, channels, section.sides, root))
    splits = _splits(layout.listings, paths, channels, section)
    return Raw(
        splits["train"],
        layout.classes,
        test=splits.get("test"),
        validation=splits.get("validation"),
        remarks=(*layout.remarks, *said),
    )


def _about_kinds(paths: Sequence[Path], gray: Sequence[Path], section: DatasetSection, root: Path) -> list[str]:
    """What is made of images that are not all alike: gray ones among colour, and those of other proportions."""
    lines = []
    if 0 < len(gray) < len(paths):
        lines.append(f"{len(gray)} of {len(paths)} images are gray ({names(gray, root)}); all are read as RGB")
    if section.sides is not None:
        height, width = section.sides
        seen = spread(paths, _HEADERS)
        odd = [path for path in seen if _is_squeezed(path, height, width)]
        if odd:
            about = "" if len(seen) == len(paths) else "about "
            lines.append(
                f"{about}{round(len(odd) / len(seen) * len(paths))} of {len(paths)} images are not "
                f"{'square' if height == width else 'of that shape'} and are squeezed to {width}x{height} "
                f"({names(odd, root)})"
            )
    return lines


def _is_squeezed(path: Path, height: int, width: int) -> bool:
    """Whether an image has other proportions; False: it cannot be read, which is found when its pixels are."""
    with suppress(UserError):
        own_height, own_width = size_of(path)
        return own_height * width != own_width * height
    return False


def _splits(
    listings: dict[str, list[tuple[Path, int]]], paths: Sequence[Path], channels: int, section: DatasetSection
) -> dict[str, Split]:
    """The splits, their pixels in memory where all of them fit, else on the disk; `paths` are all of them."""
    height, width = section.sides or _size(paths, channels)
    bytes_ = len(paths) * channels * height * width
    if section.stream == "never" or (section.stream == "auto" and fits_in_memory(bytes_)):
        images = read_images(paths, channels=channels, size=section.sides)
        ends = np.cumsum([len(listing) for listing in listings.values()])
        parts = dict(zip(listings, np.split(images, ends[:-1]), strict=True))
        return {
            part: Split(parts[part], _labels(listing), names=file_names(path for path, _ in listing))
            for part, listing in listings.items()
        }
    if section.sides is None:
        check_sizes(paths)
    shape = (channels, height, width)
    return {part: on_disk([path for path, _ in listing], _labels(listing), shape) for part, listing in listings.items()}


def _size(paths: Sequence[Path], channels: int) -> tuple[int, int]:
    """Height and width of the first image that can be read; the others are found when all are. UserError: none can."""
    for path in paths[:-1]:
        with suppress(UserError):
            height, width = read_image(path, channels=channels).shape[1:]
            return height, width
    height, width = read_image(paths[-1], channels=channels).shape[1:]
    return height, width


def _labels(listing: list[tuple[Path, int]]) -> np.ndarray:
    return np.array([label for _, label in listing], np.int64)


FOLDER = DatasetKind(
    read_folder,
    licence="your data: whoever passes this student on must say",
    origin="your own images, one sub-folder per class: dataset.path in the recipe",
    keys=("path", "image_size", "channels", "stream"),
)


def usual_side(root: Path) -> int:
    """The size in pixels, of a few usual ones, to which the images below a folder may be scaled without being enlarged:
    by the median of their shorter sides. Raises UserError where there is none."""
    paths = list_images(root)
    if not paths:
        raise UserError(f"{root} holds no images; name a folder with a sub-folder of images per class")
    shorter = statistics.median(min(size_of(path)) for path in spread(paths, _HEADERS // 10))
    return max([side for side in _SIDES if side <= shorter], default=_SIDES[0])
