"""Fashion-MNIST from its IDX files, gzipped or not (format: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS").

An IDX file is a big-endian header (two zero bytes, the type 0x08 for uint8, the number of dimensions, each dimension
as four bytes), then the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.locate import file_in, locate
from erde_nas.data.official import Remote, Source, damaged
from erde_nas.data.raw import Raw, official_split
from erde_nas.recipe.images import DatasetSection

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
MOST_BYTES = 500_000_000  # ten times the largest file
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_SOURCE = Source(
    name="fashion-mnist",
    folders=("fashion-mnist", "FashionMNIST/raw"),
    needs=(
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ),
    suffixes=("", ".gz"),
    system=(Path("/usr/share/datasets/fashion-mnist"),),
    package="dataset-fashion-mnist",
    files=(
        Remote(_FASHION + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        Remote(_FASHION + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
        Remote(_FASHION + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        Remote(_FASHION + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    ),
    note="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; MIT licence",
)


def read_fashion_mnist(section: DatasetSection, data_dir: Path | None) -> Raw:
    """60,000 training and 10,000 test images, 28x28, one channel. Raises UserError on missing or damaged files."""
    folder = locate(_SOURCE, data_dir)
    return Raw(train=_split(folder, "train"), test=_split(folder, "t10k"), classes=CLASSES)


def _split(folder: Path, part: str) -> Split:
    _, images = _read_idx(folder, f"{part}-images-idx3-ubyte", dimensions=3)
    path, labels = _read_idx(folder, f"{part}-labels-idx1-ubyte", dimensions=1)
    return official_split(images[:, None], labels, len(CLASSES), path, _SOURCE)


def _read_idx(folder: Path, name: str, dimensions: int) -> tuple[Path, np.ndarray]:
    """The file that was read and its values, uint8. `locate` has made sure that it exists."""
    path = file_in(_SOURCE, folder, name) or folder / name
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"cannot be read ({error})", _SOURCE) from error
    if len(data) > MOST_BYTES:
        raise damaged(path, f"it holds more than {MOST_BYTES} bytes", _SOURCE)
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if len(data) < header or data[:4] != magic:
        raise damaged(path, f"expected an IDX file that begins with {magic.hex()}, but got {data[:4].hex()}", _SOURCE)
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise damaged(path, f"expected {expected} bytes (values {shape}), but got {len(data)} bytes", _SOURCE)
    return path, np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()  # writable, as torch wants it


FASHION_MNIST = DatasetKind(read_fashion_mnist, "MIT, copyright Zalando SE", _SOURCE)
