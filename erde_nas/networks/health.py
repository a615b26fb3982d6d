"""Signs that a trained student is broken although its loss is finite."""

import numpy as np

from erde_nas.errors import TrainingFailed
from erde_nas.networks.operating_points import entropies

CONSTANT_NATS = 1e-4


def check_exits(logits: np.ndarray) -> None:
    """Validation logits (exits, n, classes). Raises TrainingFailed for NaN and for a dead exit head.

    A head dies at a high learning rate: its batch norm's biases turn negative, the ReLU gives zeros, and the entropy is
    the same for every image.
    """
    for number, exit_logits in enumerate(logits):
        if not np.isfinite(exit_logits).all():
            raise TrainingFailed(f"exit {number} gives values that are not finite")
        entropy = entropies(exit_logits)
        one_answer = (exit_logits.argmax(-1) == exit_logits[0].argmax()).all()  # else it is sure of every image
        if one_answer and np.ptp(entropy) < CONSTANT_NATS:
            raise TrainingFailed(
                f"exit {number} is dead: its entropy is {entropy[0]:.3f} nats for every image; lower the learning rate"
            )
