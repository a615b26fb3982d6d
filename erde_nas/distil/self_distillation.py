"""Self-distillation among the exits of one network.

`last`: the last exit teaches the earlier ones (Phuong & Lampert, ICCV 2019, eq. 3). `ensemble`: the mean of all exits'
logits teaches every exit (Lee & Lee, exit-ensemble distillation, arXiv 2104.00299).
"""

import torch
from torch import Tensor

from erde_nas.distil.losses import kd_loss


def self_distillation(student: Tensor, kind: str, temperature: float) -> Tensor:
    """The batch mean per exit: logits (exits, batch, classes) -> (exits,). No gradient goes to the teaching side."""
    if kind == "ensemble":
        return kd_loss(student, student.detach().mean(0), temperature).mean(-1)
    taught = kd_loss(student[:-1], student[-1].detach(), temperature).mean(-1)
    return torch.cat([taught, taught.new_zeros(1)])
