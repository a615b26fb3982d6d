"""A deployable file by itself: classify images with it, and measure it under a profile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from erde_nas.data.images import list_images, read_image
from erde_nas.detect import describe_machine, mismatch
from erde_nas.errors import UserError
from erde_nas.export.nest import split, thresholds_of
from erde_nas.hardware import HardwareProfile
from erde_nas.measure.latency import Deployed, Effort, latency_record, measure
from erde_nas.measure.policy import entropies
from erde_nas.runtimes.onnxruntime import NestedModel, open_session


@dataclass(frozen=True)
class Exported:
    """What the file says of itself. `image_shape` is (channels, size, size), thresholds are in nats."""

    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    precision: str


def read_exported(path: Path) -> Exported:
    """Raises UserError for a file that is missing, damaged, or was not exported by erde-nas."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a model.onnx of a run's student")
    try:
        model = onnx.load(path)
        split(model)
    except (ValueError, DecodeError) as error:
        raise UserError(f"{path} is not a student that erde-nas exported: {error}") from error
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if missing := {"classes", "exit_fractions", "precision"} - notes.keys():
        raise UserError(f"{path} lacks {', '.join(sorted(missing))} in its metadata; export the student again")
    shape = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    return Exported(
        tuple(notes["classes"].split("\n")),
        (shape[0], shape[1], shape[2]),
        thresholds_of(model),
        tuple(float(share) for share in notes["exit_fractions"].split()),
        notes["precision"],
    )


def load_images(paths: Sequence[Path], exported: Exported) -> np.ndarray:
    """Image files, scaled to the model's input: (n, channels, size, size) uint8."""
    channels, size, _ = exported.image_shape
    return np.stack([read_image(path, channels=channels, size=size) for path in paths])


def predict_files(model: Path, images: Sequence[Path]) -> list[dict[str, Any]]:
    """Class, probability, exit and entropy (nats) of every image."""
    exported = read_exported(model)
    pixels = load_images(images, exported)
    runner = NestedModel(open_session(str(model), threads=1, device="cpu"))
    rows = []
    for path, image in zip(images, pixels, strict=True):
        logits, exit_index = runner.run(image[None], np.array(exported.thresholds, np.float32))
        p = np.exp(logits[0] - logits[0].max())
        best = int(p.argmax())
        rows.append(
            {
                "image": str(path),
                "class": exported.classes[best],
                "probability": float(p[best] / p.sum()),
                "exit": int(exit_index[0]),
                "entropy": float(entropies(logits)[0]),
            }
        )
    return rows


def profile_model(model: Path, profile: HardwareProfile, images: Path | None) -> dict[str, Any]:
    """Measure the file under a profile: the record of `records.Latency` as a dict, with the profile's name.

    Without images the exits are timed on noise and the mean is estimated from the file's own exit shares on validation.
    """
    exported = read_exported(model)
    reason = mismatch(profile, describe_machine())
    if reason:
        raise UserError(reason)
    if images is None:
        generator = np.random.Generator(np.random.Philox(0))
        count = max(32, profile.batch_size)
        pixels = generator.integers(0, 256, (count, *exported.image_shape), dtype=np.uint8)
    else:
        paths = list_images(images)
        if not paths:
            raise UserError(f"{images} holds no images; give a folder with image files")
        pixels = load_images(paths, exported)
    points = () if images is None else (exported.thresholds,)
    file = Deployed("model", model, len(exported.thresholds) + 1, points)
    timing = measure([file], profile, pixels, Effort.full(profile))["model"]
    fractions = exported.exit_fractions if images is None else timing.streams[0].exit_fractions
    record = latency_record(timing, None if images is None else 0, fractions, profile)
    return {"profile": profile.name, **vars(record), "precision": exported.precision}
