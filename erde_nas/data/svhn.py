"""Street View House Numbers, cropped digits ("format 2", http://ufldl.stanford.edu/housenumbers/).

The .mat files hold X (32, 32, 3, n) uint8 and y (n, 1) with labels 1..10, where 10 stands for the digit 0.
"""

from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.locate import locate
from erde_nas.data.matlab import read_arrays
from erde_nas.data.official import Remote, Source, damaged
from erde_nas.data.raw import Raw, official_split
from erde_nas.recipe.images import DatasetSection

_HOUSES = "http://ufldl.stanford.edu/housenumbers/"
_SOURCE = Source(
    name="svhn",
    folders=("svhn",),
    needs=("train_32x32.mat", "test_32x32.mat"),
    files=(
        Remote(_HOUSES + "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", 182_040_794),
        Remote(_HOUSES + "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", 64_275_384),
    ),
    note="Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning; non-commercial",
)


def read_svhn(section: DatasetSection, data_dir: Path | None) -> Raw:
    """73,257 training and 26,032 test images, 32x32 RGB. Raises UserError on missing or damaged files."""
    folder = locate(_SOURCE, data_dir)
    return Raw(
        train=_split(folder / "train_32x32.mat"),
        test=_split(folder / "test_32x32.mat"),
        classes=tuple(map(str, range(10))),
    )


def _split(path: Path) -> Split:
    images, labels = _arrays(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise damaged(path, f"expected X as uint8 (32, 32, 3, n), but got {images.dtype} {images.shape}", _SOURCE)
    digits = labels.ravel().astype(np.int64) if np.isfinite(labels).all() else np.zeros(1, np.int64)
    wrong = np.flatnonzero((digits < 1) | (digits > 10))
    if len(wrong):
        raise damaged(path, f"labels must be 1..10, but image {wrong[0]} has label {digits[wrong[0]]}", _SOURCE)
    # (height, width, 3, n) -> (n, 3, height, width)
    return official_split(np.ascontiguousarray(images.transpose(3, 2, 0, 1)), digits % 10, 10, path, _SOURCE)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content, held = read_arrays(path, ("X", "y"))
    except (OSError, ValueError, MemoryError) as error:
        raise damaged(path, f"cannot be read as a MATLAB file ({error})", _SOURCE) from error
    if content.keys() != {"X", "y"}:
        raise damaged(path, f"expected the variables X and y, but found {held}", _SOURCE)
    return content["X"], content["y"]


SVHN = DatasetKind(read_svhn, "non-commercial use only, as its page says; no licence text is given", _SOURCE)
