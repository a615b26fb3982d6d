"""Which layers lose the most when they become int8, by measurement: each one is quantized alone.

The error of a layer is that of the logits of all exits on the calibration images. The worst stay in fp32, as few as
will do.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import ModelProto

from erde_nas.device.instructions import exact_int8
from erde_nas.device.machine import this_cpu
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.onnx_files.quantize import Quantization, quantizable, quantize_segments

Models = Sequence[ModelProto]


def by_sensitivity(segments: Models, images: np.ndarray, how: Quantization) -> list[str]:
    """The layers that `how` makes int8, the one whose quantization changes the logits most first.

    `images` are (n, channels, h, w) uint8.
    """
    expected = run_segments([model.SerializeToString() for model in segments], images)
    errors, exact = {}, not exact_int8(this_cpu())
    for name in quantizable(segments, how):
        alone = quantize_segments(segments, images, replace(how, only=(name,)))
        logits = run_segments([model.SerializeToString() for model in alone], images, exact=exact)
        errors[name] = float(((logits - expected) ** 2).mean())
    return sorted(errors, key=lambda name: -errors[name])


def keep_sensitive(
    segments: Models, images: np.ndarray, how: Quantization, accurate: Callable[[Models], bool]
) -> tuple[list[ModelProto], tuple[str, ...]] | None:
    """The segments with the fewest of the most sensitive layers in fp32 that are `accurate`, and those layers.

    None where half of the layers in fp32 are not enough: little would be gained then.
    """
    order = by_sensitivity(segments, images, how)
    made: dict[int, list[ModelProto]] = {}

    def meets(count: int) -> bool:
        made[count] = quantize_segments(segments, images, replace(how, kept=(*how.kept, *order[:count])))
        return accurate(made[count])

    counts = range(1, len(order) // 2 + 1)
    place = bisect_left(counts, True, key=meets)
    return None if place == len(counts) else (made[counts[place]], tuple(order[: counts[place]]))
