"""Logit standardisation: Sun et al., CVPR 2024, eq. 10 (the Z-score); the temperature stays with the loss."""

from torch import Tensor


def standardise(logits: Tensor) -> Tensor:
    """(logits - mean) / standard deviation over the classes: (..., classes) -> the same shape."""
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / (centred.std(-1, keepdim=True) + 1e-7)
