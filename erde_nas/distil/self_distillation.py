"""Self-distillation among the exits of one network: T² · KL(target ‖ exit), no gradient to the target.

`last`: the last exit teaches the earlier ones (Phuong & Lampert, Distillation-Based Training for Multi-Exit
Architectures, ICCV 2019; the temperature is fixed here, they raise it during training). `ensemble`: the mean of all
exits' logits teaches every exit, the last included (Lee & Lee, Students are the Best Teacher: Exit-Ensemble
Distillation with Multi-Exits, arXiv 2104.00299; its output distillation with KL, without its features).
"""

import torch
from torch import Tensor

from erde_nas.distil.losses import kd_loss


def self_distillation(student: Tensor, kind: str, temperature: float) -> Tensor:
    """The batch mean per exit: logits (exits, batch, classes) -> (exits,); the exit that teaches `last` gets 0."""
    if kind == "ensemble":
        return kd_loss(student, student.detach().mean(0), temperature).mean(-1)
    taught = kd_loss(student[:-1], student[-1].detach(), temperature).mean(-1)
    return torch.cat([taught, taught.new_zeros(1)])
