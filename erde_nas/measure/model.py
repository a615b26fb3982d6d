"""A deployable file by itself, measured under a profile."""

from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.data.images import list_images, read_image
from erde_nas.detect import describe_machine, mismatch
from erde_nas.errors import UserError
from erde_nas.export.exported import read_exported
from erde_nas.hardware import HardwareProfile
from erde_nas.measure.latency import Deployed, latency_record, measure


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
        channels, size, _ = exported.image_shape
        pixels = np.stack([read_image(path, channels=channels, size=size) for path in paths])
    points = () if images is None else (exported.thresholds,)
    file = Deployed("model", model, len(exported.thresholds) + 1, points)
    timing = measure([file], profile, pixels, processes=profile.measure.processes)["model"]
    fractions = exported.exit_fractions if images is None else timing.streams[0].exit_fractions
    record = latency_record(timing, None if images is None else 0, fractions, profile)
    return {"profile": profile.name, **vars(record), "precision": exported.precision}
