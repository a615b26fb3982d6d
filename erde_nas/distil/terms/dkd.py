"""DKD, decoupled knowledge distillation: Zhao et al., CVPR 2022, arXiv 2203.08679.

KD is TCKD + (1 - p_y) · NCKD with the teacher's p_y: what the teacher says about the label against all other classes,
and what it says among these others, which a confident teacher mutes. DKD weights the two freely (eq. 7).
"""

import torch
from torch import Tensor

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.step import Step, Term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection


def dkd_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float, beta: float
) -> Tensor:
    """T² · (alpha · TCKD + beta · NCKD) per sample: (..., classes) twice, (...) -> (...)."""
    student_others = _others(student / temperature, labels)
    teacher_others = _others(teacher / temperature, labels)
    target = kd_loss(
        _label_or_other(student / temperature, student_others, labels),
        _label_or_other(teacher / temperature, teacher_others, labels),
        1.0,
    )
    return temperature**2 * (alpha * target + beta * kd_loss(student_others, teacher_others, 1.0))


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits of all classes but the label: (..., classes), (...) -> (..., classes - 1)."""
    position = torch.arange(logits.shape[-1] - 1, device=logits.device)
    return logits.gather(-1, position + (position >= labels.unsqueeze(-1)))


def _label_or_other(logits: Tensor, others: Tensor, labels: Tensor) -> Tensor:
    """Logits of the two events `label` and `another class`: -> (..., 2). Never log(1 - p): p may round to 1."""
    return torch.cat([logits.gather(-1, labels.unsqueeze(-1)), others.logsumexp(-1, keepdim=True)], -1)


class DKD(Term):
    """The paper sets alpha 1, beta 8 and T 4 for ResNet32×4 -> ResNet8×4, and warms the term up (`kd_warmup`)."""

    def __init__(self, temperature: float, alpha: float, beta: float) -> None:
        super().__init__()
        self.temperature, self.alpha, self.beta = temperature, alpha, beta

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "DKD":
        """See `Term.make`."""
        return cls(section.temperature, section.dkd_alpha, section.dkd_beta)

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        assert step.teacher is not None
        labels = step.labels.expand(step.student.shape[:-1])  # (exits, batch)
        loss = dkd_loss(
            step.student, step.teacher, labels, temperature=self.temperature, alpha=self.alpha, beta=self.beta
        )
        return (weight * loss).mean(-1)
