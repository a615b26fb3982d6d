"""LS, logit standardisation: Sun et al., CVPR 2024, arXiv 2403.01427, algorithm 1 (the Z-score).

The base temperature stays with the loss, which divides by it and multiplies by its square (algorithm 2).
"""

from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-8  # under the square root; without it, equal logits (an untrained head) would have no finite gradient


def standardise(logits: Tensor) -> Tensor:
    """(logits - mean) / standard deviation over the classes: (..., classes) -> the same shape.

    The deviation divides by the number of classes, as in the paper; its published code divides by one less.
    """
    return F.layer_norm(logits, logits.shape[-1:], eps=FLOOR)
