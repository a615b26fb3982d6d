"""`erde_nas.predict`: images -> the answers of a deployable file, and the exit that each image left at."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from erde_nas.api.inputs import AtPoint, model_of
from erde_nas.api.tables import Records
from erde_nas.device.bundle_runner import plain
from erde_nas.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Images: TypeAlias = "str | PathLike[str] | Sequence[str | PathLike[str]] | np.ndarray"
"""Image files, folders of them, or an array (n, channels, height, width) uint8."""


@dataclass(frozen=True)
class Answer:
    """What one image is taken for. `image` is its file, or its number in the array."""

    image: str
    class_name: str
    probability: float
    exit_index: int  # counted from 0
    entropy: float  # of the answer, in nats
    logits: tuple[float, ...]  # one per class

    def to_dict(self) -> dict[str, Any]:
        """As the command line writes it in JSON."""
        return {
            "image": self.image,
            "class": self.class_name,
            "probability": self.probability,
            "exit": self.exit_index,
            "entropy": self.entropy,
            "logits": list(self.logits),
        }

    def cells(self) -> dict[str, str]:
        """What a table shows of it, by column."""
        return {
            "image": plain(self.image),
            "class": self.class_name,
            "probability": f"{self.probability:.3f}",
            "exit": str(self.exit_index),
            "entropy (nats)": f"{self.entropy:.3f}",
        }


Answers: TypeAlias = Records[Answer]
Say: TypeAlias = Callable[[str], None]
NO_IMAGES = "images must be paths of files and folders, or one array (n, channels, height, width) uint8"


def warn(text: str) -> None:
    """A remark as a warning."""
    warnings.warn(text, stacklevel=2)


def predict(model: str | PathLike[str] | AtPoint, images: Images, *, resize: bool = False, say: Say = warn) -> Answers:
    """Classify images, each by itself, with control flow that really stops at the exit taken.

    Args:
        model: a student, which answers at its point's thresholds, or the ONNX file of one, at its own.
        images: files and folders of images, or an array (n, channels, height, width) uint8, pixels from 0 to 255.
        resize: scale image files of another size (bilinear).
        say: hears what is left out of a folder, and where this CPU runs an int8 file less exactly; a warning otherwise.

    Returns:
        An answer per image, in their order.

    Raises:
        UserError: for a file that is no exported student, and for images that it cannot take.
    """
    found = model_of(model)
    if isinstance(found, Path):
        return predict_with(found, images, resize=resize, say=say)
    return predict_with(found.file, images, found.thresholds, resize=resize, say=say)


def predict_with(
    model: Path, images: Images, thresholds: Sequence[float] | None = None, *, resize: bool, say: Say
) -> Answers:
    """The answers of a file at `thresholds`, or at its own."""
    from erde_nas.bundle.predict import predict_arrays, predict_files

    if isinstance(images, str | PathLike):
        images = [images]
    if isinstance(images, Sequence):
        if not all(isinstance(image, str | PathLike) for image in images):
            raise UserError(NO_IMAGES)
        paths = [Path(image) for image in images]
        rows = predict_files(model, paths, thresholds=thresholds, resize=resize, say=say)
    elif not hasattr(images, "dtype"):
        raise UserError(NO_IMAGES)
    else:
        rows = predict_arrays(model, images, thresholds=thresholds, say=say)
    return Records(_answer(row) for row in rows)


def _answer(row: dict[str, Any]) -> Answer:
    return Answer(
        image=row["image"],
        class_name=row["class"],
        probability=row["probability"],
        exit_index=row["exit"],
        entropy=row["entropy"],
        logits=tuple(row["logits"]),
    )
