"""A deployable file in ONNX Runtime: one image through the nested file, or a batch through its segments.

Needs numpy and onnxruntime alone, so that a small device can run it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
SERIOUS = 3  # ONNX Runtime's log severity "error": it warns about the overridable thresholds otherwise


def open_session(path: str, *, threads: int, device: str) -> onnxruntime.InferenceSession:
    """A session with `threads` threads. Raises RuntimeError without the device's execution provider."""
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"onnxruntime has no {provider} here; it has {onnxruntime.get_available_providers()}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SERIOUS
    return onnxruntime.InferenceSession(path, options, providers=[provider])


@dataclass(frozen=True)
class NestedModel:
    """The nested file: one image at a time."""

    session: onnxruntime.InferenceSession

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One image (1, channels, h, w) uint8 -> logits (1, classes), exit index (1,)."""
        feed = {"image": images, "thresholds": thresholds} if len(thresholds) else {"image": images}
        logits, exit_index = self.session.run(None, feed)
        return logits, exit_index


@dataclass(frozen=True)
class CompactingModel:
    """One session per segment: run a segment, drop the images that left, go on with the rest."""

    segments: Sequence[onnxruntime.InferenceSession]

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A batch (n, channels, h, w) uint8 -> logits (n, classes), exit index (n,)."""
        waiting = np.arange(len(images))
        exit_index = np.full(len(images), len(self.segments) - 1)
        answer: np.ndarray | None = None
        x = images
        for number, session in enumerate(self.segments):
            outputs = session.run(None, {session.get_inputs()[0].name: x})
            logits = outputs[0]
            answer = np.empty((len(images), logits.shape[1]), np.float32) if answer is None else answer
            if number == len(self.segments) - 1:
                answer[waiting] = logits
                break
            leaves = _entropy(logits) < thresholds[number]
            answer[waiting[leaves]] = logits[leaves]
            exit_index[waiting[leaves]] = number
            x, waiting = outputs[1][~leaves], waiting[~leaves]
            if not len(waiting):
                break
        assert answer is not None
        return answer, exit_index


def _entropy(logits: np.ndarray) -> np.ndarray:
    """Entropy in nats of softmax over the last axis, in float32 as on the device."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -(np.exp(log_p) * log_p).sum(-1)


def run_segments(segments: Sequence[bytes], images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Serialized segments, images (n, channels, h, w) uint8 -> the logits of every exit (exits, n, classes)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SERIOUS
    sessions = [onnxruntime.InferenceSession(s, options, providers=[PROVIDERS["cpu"]]) for s in segments]
    answers: list[list[np.ndarray]] = [[] for _ in sessions]
    for start in range(0, len(images), batch_size):
        x = images[start : start + batch_size]
        for session, answer in zip(sessions, answers, strict=True):
            outputs = session.run(None, {session.get_inputs()[0].name: x})
            answer.append(outputs[0])
            x = outputs[-1]
    return np.stack([np.concatenate(answer) for answer in answers])
