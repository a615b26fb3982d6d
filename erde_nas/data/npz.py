"""The user's own arrays in one .npz file (numpy.savez), never unpickled.

`images` and `labels`, or `x_train` and `y_train`; `x_test` and `y_test`, `x_val` and `y_val` as splits of their own,
and other usual spellings (`_role`). Images are uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 to 4 channels;
labels are integers 0..classes-1.
"""

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.memory import available_bytes, readable
from erde_nas.data.parts import PARTS, part_of, without_test, words_of
from erde_nas.data.raw import Raw
from erde_nas.device.bundle_runner import plain
from erde_nas.errors import DataMissing, UserError
from erde_nas.files import expanded
from erde_nas.recipe.images import DatasetSection

_CHANNELS = range(1, 5)
_NUMBERS = "numpy.unique(labels, return_inverse=True)[1]"
_KINDS = {"x": "images", "y": "labels"}
_WORDS = {
    **dict.fromkeys(("x", "image", "images"), "x"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets"), "y"),
}
_EXPECTED = "expected images and labels, or x_train and y_train, and x_val, y_val, x_test, y_test where there are some"


def read_npz(section: DatasetSection, data_dir: Path | None) -> Raw:
    """The arrays in `section.path` (relative to `data_dir` if given). Raises UserError that names file and array."""
    path = (data_dir or Path()) / expanded(section.path or "")
    arrays = _arrays(path)
    found, others = _roles(path, arrays)
    if not found.get("train"):
        raise UserError(f"{path}: array x_train and y_train missing, found {sorted(arrays)}; {_EXPECTED}")
    splits = {part: _split(path, named, arrays) for part, named in found.items()}
    labels_name = found["train"]["y"]
    classes = _count_classes(path, labels_name, splits["train"].labels)
    for part, split in splits.items():
        if len(split) == 0 or split.labels.min() < 0 or split.labels.max() >= classes:
            raise UserError(
                f"{path}: {found[part]['y']} must hold labels 0..{classes - 1}, as {labels_name} does, "
                f"but holds {np.unique(split.labels)[[0, -1]].tolist() if len(split) else 'none'} (smallest, largest)"
            )
    remarks = [f"not used: {', '.join(map(plain, others))} of {path.name}"] if others else []
    most = max(int(split.images.max()) for split in splits.values())
    if most <= 1:
        remarks.append(
            f"no pixel of {path.name} is above {most}, of 255; images that were scaled to 0..1 need a factor"
        )
    splits, said = without_test(splits, {part: f"{named['x']}, {named['y']}" for part, named in found.items()})
    return Raw(
        splits["train"],
        tuple(f"class {i}" for i in range(classes)),
        test=splits.get("test"),
        validation=splits.get("validation"),
        remarks=(*([said] if len(splits) > 1 else []), *remarks),
    )


def _roles(path: Path, arrays: Iterable[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """By split the names of its images (x) and labels (y), and the other arrays. Raises UserError for two of a kind."""
    found: dict[str, dict[str, str]] = {}
    others: list[str] = []
    for name in arrays:
        role = _role(name)
        if role is None:
            others.append(name)
            continue
        part, kind = role
        known = found.setdefault(part, {}).setdefault(kind, name)
        if known != name:
            raise UserError(f"{path}: {known} and {name} may both be the {_KINDS[kind]} of {part}; keep one")
    return {part: found[part] for part in PARTS if part in found}, others


def _role(name: str) -> tuple[str, str] | None:
    """Split and kind (x: images, y: labels) of an array: x_train, Y_val, train_images, test_labels, images, labels."""
    words = words_of(name)
    if len(words) == 1 and (joined := re.fullmatch(r"([xy])(..+)|(..+)([xy])", words[0])):  # xtrain, trainX
        words = [word for word in joined.groups() if word]
    kinds = [kind for word in words if (kind := _WORDS.get(word))]
    parts = [part for word in words if word not in _WORDS and (part := part_of(word))]
    if len(kinds) != 1 or len(kinds) + len(parts) != len(words):
        return None
    return (parts[0] if parts else "train"), kinds[0]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        kind = UserError if path.exists() else DataMissing
        raise kind(f"dataset.path: {path} is no file; name an .npz file with images and labels")
    try:
        with zipfile.ZipFile(path) as archive:  # numpy would take other files for .npy or for a pickle
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > (free := available_bytes()):
            raise UserError(
                f"{path}: unpacks to {readable(unpacked)}, but {readable(free)} of memory are free; split it"
            )
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's reader of headers raise all kinds where a file is damaged
        reason = str(error) or type(error).__name__
        raise UserError(f"{path}: cannot be read as an .npz file ({reason}); write it with numpy.savez") from error
    if odd := sorted(name for name, array in found.items() if not isinstance(array, np.ndarray)):
        raise UserError(f"{path}: {odd[0]} is no array; write it with numpy.savez")
    return found


def _split(path: Path, named: Mapping[str, str], arrays: dict[str, np.ndarray]) -> Split:
    """The arrays `named` x and y. Raises UserError where one is missing or cannot be used."""
    if len(named) < 2:
        (kind, name) = next(iter(named.items()))
        missing = _partner(name, kind)
        raise UserError(f"{path}: array {missing} missing, found {sorted(arrays)}; {_EXPECTED}")
    images_name, labels_name = named["x"], named["y"]
    images = _channels_first(path, images_name, arrays[images_name])
    labels = arrays[labels_name]
    if labels.dtype.kind not in "iu" or labels.size != len(images) or labels.shape[:1] != (len(images),):
        raise UserError(
            f"{path}: {labels_name} must be {len(images)} integers, one per image, but is {labels.dtype} "
            f"{labels.shape}{_how_to_number(labels, len(images))}"
        )
    names = np.char.add(f"{images_name} ".encode(), np.arange(len(images)).astype(bytes))
    return Split(images, labels.ravel().astype(np.int64), names=names)


def _how_to_number(labels: np.ndarray, count: int) -> str:
    """How names, or one-hot rows, of so many images become numbers; empty where it is not known."""
    if labels.ndim == 2 and len(labels) == count and labels.shape[1] > 1:
        return "; were they one-hot, save labels.argmax(1)"
    return f"; save {_NUMBERS}" if labels.shape == (count,) else ""


def _partner(name: str, kind: str) -> str:
    """What the labels of these images would be called, or the images of these labels."""
    pairs = [("x", "y"), ("X", "Y"), ("images", "labels"), ("image", "label")]
    for images, labels in pairs:
        old, new = (images, labels) if kind == "x" else (labels, images)
        if old in re.split(r"[\W_]+", name):
            return name.replace(old, new, 1)
    return f"of {'labels' if kind == 'x' else 'images'} for {name}"


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
        raise UserError(
            f"{path}: {name} must be 0..classes-1, at least 2 classes and none left out, but got {shown}"
            + (f"; save {_NUMBERS}" if len(present) > 1 else "")
        )
    return len(present)


NPZ = DatasetKind(
    read_npz,
    licence="your data: whoever passes this student on must say",
    origin="your own arrays, images and labels: dataset.path in the recipe",
    keys=("path",),
)
