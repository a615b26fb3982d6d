"""scikit-learn's handwritten digits: a real data set that needs no download (UCI, Alpaydin and Kaynak 1998)."""

from pathlib import Path

import numpy as np
from PIL import Image

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.raw import Raw
from erde_nas.recipe.images import DatasetSection

_SIDE = 16  # 8x8 would leave nothing after two strides
_MAXIMUM = 16  # the digits count the inked pixels of 4x4 cells


def read_digits(section: DatasetSection, data_dir: Path | None) -> Raw:
    """1,797 images, one channel, enlarged from 8x8 to 16x16 with bilinear interpolation."""
    # Imported here because no other data set needs scikit-learn.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.stack([_enlarge(image) for image in bunch.images])  # (n, 1, 16, 16)
    return Raw(Split(images, bunch.target.astype(np.int64)), classes=tuple(map(str, range(10))))


def _enlarge(image: np.ndarray) -> np.ndarray:
    """(8, 8) with values 0..16 -> (1, 16, 16) uint8."""
    large = Image.fromarray(image.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(large) * (255 / _MAXIMUM)).astype(np.uint8)[None]


DIGITS = DatasetKind(
    read_digits,
    licence="CC BY 4.0, as stated by the UCI repository (Optical Recognition of Handwritten Digits)",
    origin="comes with scikit-learn",
    found="scikit-learn",
    note="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits; CC BY 4.0",
)
