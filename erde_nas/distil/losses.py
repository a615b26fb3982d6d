"""Losses of one exit. Logits are (..., classes), labels (...); per-sample losses come back as (...).

ERDE: entropy-regularised distillation for early exits, arXiv 2510.04856. KD: Hinton et al., 2015, eq. 4 with the usual
T² factor.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.students.network import entropy


def cross_entropy(student: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per sample: (..., classes), (...) -> (...)."""
    return -torch.log_softmax(student, -1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def kd_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) per sample: (..., classes) twice -> (...)."""
    log_s = torch.log_softmax(student / temperature, -1)
    log_t = torch.log_softmax(teacher / temperature, -1)
    return temperature**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(-1)


def distillation(
    student: Tensor, teacher: Tensor, *, temperature: float, kd_weight: float, entropy_adaptive: bool = False
) -> Tensor:
    """kd_weight · KD per sample, times EA-KD's weight if `entropy_adaptive`: (..., classes) twice -> (...)."""
    terms = kd_weight * kd_loss(student, teacher, temperature)
    return terms * entropy_adaptive_weight(student, teacher) if entropy_adaptive else terms


def erde_terms(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    kd_weight: float,
    entropy_weight: float,
    entropy_adaptive: bool = False,
) -> Tensor:
    """ERDE per sample: (..., classes) twice, (...) -> (...).

    Where the teacher is right, cross-entropy + kd_weight · KD (times EA-KD's weight if `entropy_adaptive`); where it is
    wrong, cross-entropy - entropy_weight · H(student): the student stays uncertain, and the image goes on to a later
    exit. The paper's text gives the idea, not the weights; `entropy_weight` and its sign live here alone.
    """
    right = teacher.argmax(-1) == labels
    taught = distillation(
        student, teacher, temperature=temperature, kd_weight=kd_weight, entropy_adaptive=entropy_adaptive
    )
    return cross_entropy(student, labels) + torch.where(right, taught, -entropy_weight * entropy(student))


def erde_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    kd_weight: float,
    entropy_weight: float,
) -> Tensor:
    """ERDE of one exit: student and teacher logits (batch, classes), labels (batch,) -> scalar."""
    return erde_terms(
        student, teacher, labels, temperature=temperature, kd_weight=kd_weight, entropy_weight=entropy_weight
    ).mean()
