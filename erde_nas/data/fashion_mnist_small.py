"""A subset of Fashion-MNIST that comes with the package: real images without a download.

`docs/make_fashion_mnist_small.py` made the file from the official ones; `embedded/LICENSE-fashion-mnist` is their
licence. It is an xz stream of 28x28 bytes an image, column by column: of each class 640 official training images, then
200 official test images.
"""

import lzma
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.fashion_mnist import CLASSES
from erde_nas.data.kind import DatasetKind
from erde_nas.data.raw import Raw
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection

FILE = Path(__file__).parent / "embedded" / "fashion-mnist-small.xz"
TRAIN, TEST = 640, 200  # images of each class
SHA256 = "267b0751778ea527ee1b84c5850fc1eebf89cf570ff97f7450bb107f4e183785"  # of what is in the file
_SIDE = 28


def read_fashion_mnist_small(section: DatasetSection, data_dir: Path | None) -> Raw:
    """6,400 training and 2,000 test images, 28x28, one channel. Raises UserError where the package is damaged."""
    try:
        values = np.frombuffer(lzma.decompress(FILE.read_bytes()), np.uint8)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{FILE}: cannot be read ({error}); install erde-nas again") from error
    columns = values.reshape(len(CLASSES), TRAIN + TEST, 1, _SIDE, _SIDE)
    images = np.ascontiguousarray(columns.transpose(1, 0, 2, 4, 3))  # (image, class, 1, row, column)
    return Raw(train=_split(images[:TRAIN]), test=_split(images[TRAIN:]), classes=CLASSES)


def _split(images: np.ndarray) -> Split:
    """(n, classes, 1, h, w) -> n images of each class, in turn."""
    count, classes, *shape = images.shape
    return Split(images.reshape(-1, *shape), np.tile(np.arange(classes), count))


FASHION_MNIST_SMALL = DatasetKind(
    read_fashion_mnist_small,
    licence="MIT, copyright Zalando SE",
    origin="comes with erde-nas",
    found="erde-nas",
    note="8,400 images of Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; MIT licence",
)
