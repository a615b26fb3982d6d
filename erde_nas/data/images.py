"""Image files -> uint8 arrays, with Pillow. A file that cannot be used is named in the error.

A file is read by the same function as in the runner that ships with a student, so that both see the same pixels.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from erde_nas.device import bundle_runner as run
from erde_nas.errors import UserError

SUFFIXES = run.SUFFIXES
_GRAYSCALE = ("1", "L", "LA")
_CHUNK = 1024  # bounds what the threads can be ahead


def list_images(folder: Path) -> list[Path]:
    """The image files below a folder, sorted, links followed; hidden ones do not count. Raises UserError."""
    return walk(folder)[0]


def walk(folder: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """The same, and what is left out, by the reason."""
    try:
        return run.walk(folder)
    except run.RunError as error:
        raise UserError(str(error)) from error


def left_out(folder: Path) -> str:
    """One line on what `list_images` leaves out of a folder; empty where that is nothing. Raises UserError."""
    found = walk(folder)[1]
    return f"{folder}: {run.left_out_text(found, folder)}" if found else ""


def read_image(path: Path, *, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """One image as (channels, height, width) uint8, as `bundle_runner.decode` says. Raises UserError."""
    try:
        return run.decode(path, channels, size)
    except run.RunError as error:
        raise UserError(str(error)) from error


def read_images(
    paths: Sequence[Path],
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """All images as (n, channels, height, width) uint8, of one size. Raises UserError otherwise.

    Without `channels`: 1 if every image is grayscale, else 3. Without `size` (height, width) they must be equal as they
    are.
    Files that cannot be read are counted before one error names them.
    """
    channels = channels or count_channels(paths)
    read = partial(_read_or_why, channels=channels, size=size)
    images = np.empty((0, channels, 0, 0), np.uint8)
    refused: list[UserError] = []
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _CHUNK):
            for i, pixels in enumerate(pool.map(read, paths[start : start + _CHUNK]), start):
                if isinstance(pixels, UserError):
                    refused.append(pixels)
                    continue
                if not len(images):
                    first, images = i, np.empty((len(paths), *pixels.shape), np.uint8)
                if pixels.shape != images.shape[1:]:
                    raise _odd_size(paths[i], pixels.shape[1:], paths[first], images.shape[2:])
                images[i] = pixels
    if refused:
        more = f"; {len(refused) - 1} more of {len(paths)} files cannot be used" if len(refused) > 1 else ""
        raise UserError(f"{refused[0]}{more}")
    return images


def _read_or_why(path: Path, channels: int, size: tuple[int, int] | None) -> np.ndarray | UserError:
    try:
        return read_image(path, channels=channels, size=size)
    except UserError as error:
        return error


def count_channels(paths: Sequence[Path]) -> int:
    """1 if every image is grayscale, else 3. What cannot be read is left to be found when its pixels are."""
    return 1 if all(map(is_grayscale, paths)) else 3


def check_sizes(paths: Sequence[Path]) -> tuple[int, int]:
    """Height and width of images of one size, from their headers alone. Raises UserError otherwise."""
    first = size_of(paths[0])
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            for path, size in zip(chunk, pool.map(size_of, chunk), strict=True):
                if size != first:
                    raise _odd_size(path, size, paths[0], first)
    return first


def size_of(path: Path) -> tuple[int, int]:
    """(height, width) as the image is shown: turned where its EXIF tag says so. Raises UserError."""
    try:
        with Image.open(path) as file:
            width, height = file.size
            # Pillow gives the size of a TIFF file as it is shown, of others as they are stored.
            turned = file.format != "TIFF" and file.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception as error:  # Pillow's readers raise all kinds where a file is damaged
        raise _unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def is_grayscale(path: Path) -> bool:
    """Whether an image is gray, from its header alone; True: it cannot be read."""
    try:
        with Image.open(path) as file:
            return file.mode in _GRAYSCALE
    except Exception:  # see `size_of`
        return True


def has_alpha(path: Path) -> bool:
    """Whether the file has an alpha channel, or says what is transparent, from its header alone; False: unreadable."""
    try:
        with Image.open(path) as file:
            return run.has_alpha(file)
    except Exception:  # see `size_of`
        return False


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{run.plain(f'{path}: cannot be read as an image ({error})')}; replace or remove it")


def _odd_size(path: Path, size: tuple[int, ...], first_path: Path, first: tuple[int, ...]) -> UserError:
    return UserError(
        f"{path}: images must be of one size, but this one is {size[1]}x{size[0]} and {first_path} is "
        f"{first[1]}x{first[0]}; set dataset.image_size in the recipe, or resize them"
    )
