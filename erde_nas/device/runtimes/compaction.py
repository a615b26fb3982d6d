"""One call per segment: run a segment, drop the images that left, go on with the rest.

It serves batches, where an `If` cannot decide for each image, and runtimes without control flow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from erde_nas.device.exit_rules import ENTROPY, ExitRule

Segment = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Images or features (n, ...) -> logits (n, classes) and, but for the last segment, features (n, ...)."""


@dataclass(frozen=True)
class Compacting:
    """Segments of a student, in order, and when images leave between them."""

    segments: Sequence[Segment]
    rule: ExitRule = ENTROPY

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A batch (n, channels, h, w) uint8 -> logits (n, classes), exit index (n,)."""
        waiting = np.arange(len(images))
        last = len(self.segments) - 1
        exit_index = np.full(len(images), last)
        answer: np.ndarray | None = None
        so_far: list[np.ndarray] = []  # the logits of the images that wait
        x = images
        for number, segment in enumerate(self.segments):
            outputs = segment(x)
            logits = outputs[0]
            if number == last:
                if answer is None:
                    return logits, exit_index
                answer[waiting] = logits
                break
            so_far.append(logits)
            leaves = self.rule.score(so_far) < thresholds[number]
            if leaves.all():
                exit_index[waiting] = number
                if answer is None:
                    return logits, exit_index
                answer[waiting] = logits
                break
            if leaves.any():
                answer = np.empty((len(images), logits.shape[1]), np.float32) if answer is None else answer
                answer[waiting[leaves]] = logits[leaves]
                exit_index[waiting[leaves]] = number
                stay = ~leaves
                x, waiting = outputs[1][stay], waiting[stay]
                so_far = [early[stay] for early in so_far] if number < last - 1 else []
            else:
                x = outputs[1]
        assert answer is not None
        return answer, exit_index


def every_exit(segments: Sequence[Segment], images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Images (n, channels, h, w) uint8 -> the logits of every exit (exits, n, classes)."""
    answers: list[list[np.ndarray]] = [[] for _ in segments]
    for start in range(0, len(images), batch_size):
        x = images[start : start + batch_size]
        for segment, answer in zip(segments, answers, strict=True):
            outputs = segment(x)
            answer.append(outputs[0])
            x = outputs[-1]
    return np.stack([np.concatenate(answer) for answer in answers])
