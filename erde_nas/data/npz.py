"""The user's own arrays in one .npz file (numpy.savez), never unpickled.

`images` and `labels`, or `x_train` and `y_train`; a test split as `x_test` and `y_test`. Images are uint8 (n, h, w),
(n, h, w, c) or (n, c, h, w) with 1 to 4 channels; labels are integers 0..classes-1.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from erde_nas.data.raw import Raw
from erde_nas.errors import UserError
from erde_nas.recipe import DatasetSection
from erde_nas.records import Split

_CHANNELS = range(1, 5)
# RuntimeError: encrypted, or packed with a method that this Python lacks.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(section: DatasetSection, data_dir: Path | None) -> Raw:
    """The arrays in `section.path` (relative to `data_dir` if given). Raises UserError that names file and array."""
    path = (data_dir or Path()) / Path(section.path or "").expanduser()
    arrays = _arrays(path)
    train_names = ("images", "labels") if "images" in arrays or "labels" in arrays else ("x_train", "y_train")
    train = _split(path, arrays, *train_names)
    classes = _count_classes(path, train_names[1], train.labels)
    has_test = "x_test" in arrays or "y_test" in arrays
    test = _split(path, arrays, "x_test", "y_test") if has_test else None
    if test is not None and (len(test) == 0 or test.labels.min() < 0 or test.labels.max() >= classes):
        raise UserError(
            f"{path}: y_test must hold labels 0..{classes - 1}, as {train_names[1]} does, "
            f"but holds {np.unique(test.labels)[[0, -1]].tolist() if len(test) else 'none'} (smallest, largest)"
        )
    return Raw(train, tuple(f"class {i}" for i in range(classes)), test=test)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"dataset.path: {path} is no file; name an .npz file with images and labels")
    try:
        with zipfile.ZipFile(path):  # numpy would take other files for .npy or for a pickle
            pass
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read as an .npz file ({error}); write it with numpy.savez") from error


def _split(path: Path, arrays: dict[str, np.ndarray], images_name: str, labels_name: str) -> Split:
    missing = [name for name in (images_name, labels_name) if name not in arrays]
    if missing:
        raise UserError(
            f"{path}: array {' and '.join(missing)} missing, found {sorted(arrays)}; "
            "expected images and labels, or x_train, y_train, x_test and y_test"
        )
    images = _channels_first(path, images_name, arrays[images_name])
    labels = arrays[labels_name]
    if labels.dtype.kind not in "iu" or labels.size != len(images) or labels.shape[:1] != (len(images),):
        raise UserError(
            f"{path}: {labels_name} must be {len(images)} integers, one per image, but is {labels.dtype} {labels.shape}"
        )
    return Split(images, labels.ravel().astype(np.int64))


def _channels_first(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    """(n, h, w), (n, h, w, c) or (n, c, h, w) -> (n, c, h, w)."""
    if images.dtype != np.uint8:
        raise UserError(f"{path}: {name} must be uint8 (0..255), but is {images.dtype}; scale and convert it")
    if images.ndim == 3:
        return images[:, None]
    first, last = (images.ndim == 4 and images.shape[axis] in _CHANNELS for axis in (1, 3))
    if first == last:
        raise UserError(
            f"{path}: {name} must be (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 to 4 channels, "
            f"but is {images.shape}"
        )
    return images if first else np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _count_classes(path: Path, name: str, labels: np.ndarray) -> int:
    present = np.unique(labels)
    if len(present) < 2 or present[0] != 0 or present[-1] != len(present) - 1:
        shown = present[:12].tolist()
        raise UserError(f"{path}: {name} must be 0..classes-1, at least 2 classes and none left out, but got {shown}")
    return len(present)
