"""Writes the subset of Fashion-MNIST that comes with the package: erde_nas/data/embedded/fashion-mnist-small.xz.

    python docs/make_fashion_mnist_small.py [--data-dir DIR]

The official files are sought as for the data set `fashion-mnist`: on Debian, `apt install dataset-fashion-mnist`. Of
each class the first TRAIN training images and the first TEST test images are taken, in their official order. Bytes are
laid out as (class, image, column, row), which LZMA packs best: 351 bytes an image, against 372 row by row, 382 as
lossless WebP, 393 as PNG and 433 in an npz. Nothing is lost. The pixels' hash is checked.
"""

import argparse
import hashlib
import lzma
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.fashion_mnist import CLASSES, read_fashion_mnist
from erde_nas.data.fashion_mnist_small import FILE, SHA256, TEST, TRAIN
from erde_nas.recipe.images import DatasetSection

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]


def main() -> None:
    """Write the file, or end with what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="the folder that holds the official files")
    pixels = subset_bytes(parser.parse_args().data_dir)
    found = hashlib.sha256(pixels).hexdigest()
    if found != SHA256:
        raise SystemExit(f"expected pixels with SHA-256 {SHA256}, but got {found}: are these the official files?")
    packed = lzma.compress(pixels, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256, filters=_FILTERS)
    FILE.write_bytes(packed)
    print(f"{FILE}: {len(packed)} bytes")


def subset_bytes(data_dir: Path | None) -> bytes:
    """What the file holds: of each class TRAIN and then TEST images, each column by column."""
    raw = read_fashion_mnist(DatasetSection(name="fashion-mnist"), data_dir)
    assert raw.test is not None
    parts = [_first_of_each_class(raw.train, TRAIN), _first_of_each_class(raw.test, TEST)]
    return np.concatenate(parts, axis=1).transpose(0, 1, 3, 2).tobytes()


def _first_of_each_class(split: Split, count: int) -> np.ndarray:
    """(classes, count, height, width)"""
    return np.stack([split.images[split.labels == label, 0][:count] for label in range(len(CLASSES))])


if __name__ == "__main__":
    main()
