"""CIFAR-10 and CIFAR-100 in the official binary layout (https://www.cs.toronto.edu/~kriz/cifar.html).

A record is the label byte (CIFAR-100: a coarse, then a fine one) and 3072 pixels: red, green and blue plane of 32x32,
row by row. The files may hold any number of records.
"""

from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.locate import locate
from erde_nas.data.official import Remote, Source, damaged
from erde_nas.data.raw import Raw, official_split
from erde_nas.recipe.images import DatasetSection

_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_NOTE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; no licence stated"
_LICENCE = "no licence stated by its authors; they ask for Krizhevsky 2009 to be cited"
_SOURCE_10 = Source(
    name="cifar10",
    folders=("cifar-10-batches-bin",),
    needs=(*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    files=(Remote(_TORONTO + "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171),),
    note=_NOTE,
)
_SOURCE_100 = Source(
    name="cifar100",
    folders=("cifar-100-binary",),
    needs=("train.bin", "test.bin"),
    files=(Remote(_TORONTO + "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 168_513_733),),
    note=_NOTE,
)
_PIXELS = 3 * 32 * 32
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar10(section: DatasetSection, data_dir: Path | None) -> Raw:
    """Five training files and one test file. Raises UserError on missing or damaged ones."""
    source = _SOURCE_10
    folder = locate(source, data_dir)
    batches = [_split(folder / f"data_batch_{i}.bin", 1, 10, source) for i in range(1, 6)]
    images, labels = (np.concatenate([getattr(batch, part) for batch in batches]) for part in ("images", "labels"))
    return Raw(
        train=Split(images, labels),
        test=_split(folder / "test_batch.bin", 1, 10, source),
        classes=_class_names(folder / "batches.meta.txt", _CIFAR10_CLASSES, source),
    )


def read_cifar100(section: DatasetSection, data_dir: Path | None) -> Raw:
    """One training and one test file, with the 100 fine labels. Raises UserError on missing or damaged ones."""
    source = _SOURCE_100
    folder = locate(source, data_dir)
    return Raw(
        train=_split(folder / "train.bin", 2, 100, source),
        test=_split(folder / "test.bin", 2, 100, source),
        classes=_class_names(folder / "fine_label_names.txt", tuple(f"class {i}" for i in range(100)), source),
    )


def _split(path: Path, label_bytes: int, classes: int, source: Source) -> Split:
    """The images and labels of one file; the label is the last of `label_bytes`."""
    record = label_bytes + _PIXELS
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise damaged(path, f"cannot be read ({error})", source) from error
    if len(data) == 0 or len(data) % record:
        raise damaged(path, f"expected a multiple of {record} bytes (one record), but got {len(data)} bytes", source)
    records = data.reshape(-1, record)  # (n, record)
    images = records[:, label_bytes:].reshape(-1, 3, 32, 32)
    return official_split(images, records[:, label_bytes - 1], classes, path, source)


def _class_names(path: Path, default: tuple[str, ...], source: Source) -> tuple[str, ...]:
    if not path.exists():
        return default
    names = tuple(
        line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    )
    if len(names) != len(default):
        raise damaged(path, f"expected {len(default)} class names, one a line, but got {len(names)}", source)
    return names


CIFAR10 = DatasetKind(read_cifar10, _LICENCE, _SOURCE_10)
CIFAR100 = DatasetKind(read_cifar100, _LICENCE, _SOURCE_100)
