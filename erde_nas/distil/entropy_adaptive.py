"""EA-KD's per-sample weight (arXiv 2311.13621, eq. 8-14): distil more where the teacher has more to say."""

import math

import torch
from torch import Tensor

from erde_nas.students.network import entropy


@torch.no_grad()
def entropy_adaptive_weight(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """w = ½ · H_T · (1 + H_S / log C), entropies in nats at `temperature`: (..., classes) twice -> (...), detached."""
    teacher_entropy = entropy(teacher / temperature)
    student_entropy = entropy(student / temperature)
    return 0.5 * teacher_entropy * (1.0 + student_entropy / math.log(student.shape[-1]))
