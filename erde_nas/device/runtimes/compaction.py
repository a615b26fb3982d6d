"""One call per segment: run a segment, drop the images that left, go on with the rest.

It serves batches, where an `If` cannot decide for each image, and runtimes without control flow.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from erde_nas.device.exit_rules import ENTROPY, ExitRule

OURS = re.compile(r"image|(features|logits)\d+")  # names of what segments take
Call = Callable[..., Sequence[np.ndarray]]
"""What it reads (n, ...) -> logits (n, classes) and, but for a network's last segment, features (n, ...)."""


@dataclass(frozen=True)
class Segment:
    """A segment as a function. `reads` are names: `image`, or `features0`, `logits0` and so on of earlier segments;
    by default the images or the features of the segment before."""

    call: Call
    reads: tuple[str, ...] = ()


def segment_of(call: Call, inputs: Sequence[str]) -> Segment:
    """A function of a file's `inputs`; where they have names of others' making, of what comes from the one before."""
    return Segment(call, tuple(inputs) if all(map(OURS.fullmatch, inputs)) else ())


def row(segments: Sequence[Segment | Call]) -> list[Segment]:
    """Segments that all say what they read."""
    named = [segment if isinstance(segment, Segment) else Segment(segment) for segment in segments]
    return [
        segment if segment.reads else replace(segment, reads=(f"features{number - 1}" if number else "image",))
        for number, segment in enumerate(named)
    ]


def step(segment: Segment, number: int, known: dict[str, Any]) -> None:
    """Run segment `number` on what is `known` by name, and add what it gives."""
    outputs = segment.call(*(known[name] for name in segment.reads))
    known.update(zip((f"logits{number}", f"features{number}"), outputs, strict=False))


@dataclass(frozen=True)
class Compacting:
    """Segments of a student, in order, and when images leave between them."""

    segments: Sequence[Segment | Call]
    rule: ExitRule = ENTROPY

    @cached_property
    def _row(self) -> list[tuple[Segment, set[str]]]:
        """The segments, each with what later ones read."""
        segments = row(self.segments)
        return [(s, {name for later in segments[n + 1 :] for name in later.reads}) for n, s in enumerate(segments)]

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A batch (n, channels, h, w) uint8 -> logits (n, classes), exit index (n,)."""
        waiting = np.arange(len(images))
        last = len(self.segments) - 1
        exit_index = np.full(len(images), last)
        answer: np.ndarray | None = None
        so_far: list[np.ndarray] = []  # the logits of the images that wait
        known: dict[str, Any] = {"image": images}  # of them as well
        for number, (segment, later) in enumerate(self._row):
            step(segment, number, known)
            logits = known[f"logits{number}"]
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
            known = {name: values for name, values in known.items() if name in later}
            if leaves.any():
                answer = np.empty((len(images), logits.shape[1]), np.float32) if answer is None else answer
                answer[waiting[leaves]] = logits[leaves]
                exit_index[waiting[leaves]] = number
                stay = ~leaves
                waiting = waiting[stay]
                known = {name: values[stay] for name, values in known.items()}
                so_far = [early[stay] for early in so_far] if number < last - 1 else []
        assert answer is not None
        return answer, exit_index


def every_exit(segments: Sequence[Segment | Call], images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Images (n, channels, h, w) uint8 -> the logits of every exit (exits, n, classes)."""
    answers: list[list[np.ndarray]] = [[] for _ in segments]
    for start in range(0, len(images), batch_size):
        known: dict[str, Any] = {"image": images[start : start + batch_size]}
        for number, segment in enumerate(row(segments)):
            step(segment, number, known)
            answers[number].append(known[f"logits{number}"])
    return np.stack([np.concatenate(answer) for answer in answers])
