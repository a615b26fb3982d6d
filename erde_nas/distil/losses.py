"""Losses of one exit. Logits are (..., classes), labels (...); per-sample losses come back as (...).

ERDE: entropy-regularised distillation for early exits, arXiv 2510.04856. KD: Hinton et al., 2015, eq. 4 with the usual
T² factor.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.networks.network import entropy

__all__ = [
    "confidence_where_wrong",
    "cross_entropy",
    "entropy_adaptive_weight",
    "erde_loss",
    "erde_terms",
    "kd_loss",
    "teacher_is_right",
]


def cross_entropy(student: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy per sample: (..., classes), (...) -> (...). All classes share `smoothing` of the label (Szegedy et
    al., CVPR 2016, section 7)."""
    log_p = torch.log_softmax(student, -1)
    loss = -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (1 - smoothing) * loss - smoothing * log_p.mean(-1) if smoothing else loss


def kd_loss(student: Tensor, teacher: Tensor, temperature: float | Tensor) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) per sample: (..., classes) twice -> (...)."""
    log_s = torch.log_softmax(student / temperature, -1)
    log_t = torch.log_softmax(teacher / temperature, -1)
    return temperature**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(-1)


def teacher_is_right(teacher: Tensor, labels: Tensor) -> Tensor:
    """ERDE's mask c: 1 where the teacher's class is the label, else 0. (..., classes), (...) -> (...)."""
    return (teacher.argmax(-1) == labels).to(teacher.dtype)


def confidence_where_wrong(student: Tensor, right: Tensor) -> Tensor:
    """ERDE's regulariser per sample, -H(softmax(student)) where the teacher is wrong: (..., classes), (...) -> (...).

    Minimising it keeps the student uncertain there, so that the image goes on to a later exit. The paper's text gives
    the idea; its sign lives here alone.
    """
    return -(1 - right) * entropy(student)


def erde_terms(
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, kd_weight: float, entropy_weight: float
) -> Tensor:
    """ERDE per sample: (..., classes) twice, (...) -> (...).

    Cross-entropy, plus kd_weight · KD where the teacher is right, minus entropy_weight · H(student) where it is wrong.
    """
    right = teacher_is_right(teacher, labels)
    taught = kd_weight * right * kd_loss(student, teacher, temperature)
    return cross_entropy(student, labels) + taught + entropy_weight * confidence_where_wrong(student, right)


def erde_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, kd_weight: float, entropy_weight: float
) -> Tensor:
    """ERDE of one exit: student and teacher logits (batch, classes), labels (batch,) -> scalar."""
    return erde_terms(
        student, teacher, labels, temperature=temperature, kd_weight=kd_weight, entropy_weight=entropy_weight
    ).mean()
