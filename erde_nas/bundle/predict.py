"""Image files -> the answers of a deployable file, through the runner that an exported student brings along."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import InferenceSession

from erde_nas.device import bundle_runner as run
from erde_nas.errors import UserError
from erde_nas.onnx_files.metadata import Metadata, read_metadata

Say = Callable[[str], None]
Answers = list[dict[str, Any]]


def predict_files(
    model: Path,
    images: Sequence[Path],
    thresholds: Sequence[float] | None = None,
    *,
    resize: bool = False,
    say: Say = lambda text: None,
) -> Answers:
    """Class, probability, exit, entropy (nats) and logits of every image, at `thresholds` or the file's own.

    `say` hears what is left out of a folder, and of a file that is for other CPUs.
    Raises UserError for a file that is no exported student, and for images that it cannot take.
    """
    exported = read_metadata(model)
    try:
        paths = run.find_images(images, say)
        session = _open(model, exported, say)
        return list(run.classify(session, paths, exported.classes, thresholds, resize=resize))
    except run.RunError as error:
        raise UserError(str(error)) from error


def predict_arrays(
    model: Path, images: np.ndarray, thresholds: Sequence[float] | None = None, *, say: Say = lambda text: None
) -> Answers:
    """As `predict_files`, for images (n, channels, size, size) uint8, which are called by their numbers."""
    exported = read_metadata(model)
    if images.dtype != np.uint8 or images.shape[1:] != exported.image_shape:
        wanted = ", ".join(map(str, exported.image_shape))
        raise UserError(
            f"the student takes uint8 images of shape (n, {wanted}), but got {images.dtype} of shape {images.shape}"
        )
    try:
        session = _open(model, exported, say)
    except run.RunError as error:
        raise UserError(str(error)) from error
    answers = (run.run_one(session, image, thresholds) for image in images)
    return [run.describe(Path(str(n)), exported.classes, *answer) for n, answer in enumerate(answers)]


def _open(model: Path, exported: Metadata, say: Say) -> InferenceSession:
    """Raises RunError where the file cannot run here."""
    if lacks := run.missing(exported.instructions):
        say(f"{model}: {lacks}")
    return run.open_session(model.read_bytes(), exact=bool(lacks))
