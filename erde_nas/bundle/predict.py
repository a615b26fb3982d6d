"""Image files -> the answers of a deployable file, through the runner that an exported student brings along."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from erde_nas.device import bundle_runner as run
from erde_nas.errors import UserError
from erde_nas.onnx_files.metadata import read_metadata


def predict_files(
    model: Path, images: Sequence[Path], *, resize: bool = False, say: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """Class, probability, exit, entropy (nats) and logits of every image, at the file's own thresholds.

    `say` hears what is left out of a folder, and of a file that is for other CPUs.
    Raises UserError for a file that is no exported student, and for images that it cannot take.
    """
    exported = read_metadata(model)
    try:
        paths = run.find_images(images, say)
        if lacks := run.missing(exported.instructions):
            say(f"{model}: {lacks}")
        session = run.open_session(model.read_bytes(), exact=bool(lacks))
        return list(run.classify(session, paths, exported.classes, resize=resize))
    except run.RunError as error:
        raise UserError(str(error)) from error
