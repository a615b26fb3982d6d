"""Whether a runtime answers as expected: the logits of every exit, and the exits that follow from them."""

import base64

import numpy as np

TOLERANCE = {"fp64": 1e-3, "fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.1}
"""Of the arithmetic's precision: the largest difference of two logits, relative to the largest of an image's exit.

fp32 differs by the order of sums. bf16 has 8 bits, fp16 has 11. int8 files are compared with what the same file gave on
the machine that made it: instruction sets round differently.
"""


def disagreement(encoded: str | None, expected: np.ndarray | None, precision: str) -> str:
    """How logits (exits, n, classes), float32 in base64, differ from the first of the expected ones; empty: they agree.

    Without one or the other there is nothing to compare. Where the expected ones are not finite, neither need these be.
    """
    if encoded is None or expected is None:
        return ""
    values = np.frombuffer(base64.b64decode(encoded), "<f4")
    exits, _, classes = expected.shape
    if values.size % (exits * classes):
        return f"the runtime gives {values.size} values for {exits} exit(s), which are not {classes} an image"
    found = values.reshape(exits, -1, classes)
    count = min(found.shape[1], expected.shape[1])
    wanted, found = expected[:, :count], found[:, :count]
    known = np.isfinite(wanted)
    if not np.isfinite(found[known]).all():
        return "the runtime gives values that are not finite"
    size = np.abs(np.where(known, wanted, 0)).max(-1, keepdims=True)
    difference = np.abs(np.where(known, found, 0) - np.where(known, wanted, 0)) / np.maximum(size, 1.0)
    worst = np.unravel_index(difference.argmax(), difference.shape)
    if difference[worst] <= TOLERANCE[precision]:
        return ""
    return (
        f"the runtime's logits differ by up to {difference[worst]:.2g} of the largest (exit {worst[0]}, image "
        f"{worst[1]}), {TOLERANCE[precision]:g} are allowed in {precision}"
    )
