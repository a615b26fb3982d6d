"""EA-KD's weight per sample (arXiv 2311.13621, eq. 8-12): distil more where the teacher has more to say.

It multiplies a sample's distillation loss (eq. 14; averaged over the batch, as in the authors' code, where the paper
sums). The entropies' upper bound is log C; the authors' code has 100 instead in its KD and DKD for CIFAR-100.
"""

import math

import torch
from torch import Tensor

from erde_nas.networks.network import entropy


@torch.no_grad()
def entropy_adaptive_weight(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """w = ½ · H_T · (1 + H_S / log C), entropies in nats at `temperature`: (..., classes) twice -> (...), detached."""
    teacher_entropy = entropy(teacher / temperature)
    student_entropy = entropy(student / temperature)
    return 0.5 * teacher_entropy * (1.0 + student_entropy / math.log(student.shape[-1]))
