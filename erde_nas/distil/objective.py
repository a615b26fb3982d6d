"""The loss of all exits at once, as a recipe's `distil` section describes it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from erde_nas.distil.losses import cross_entropy, distillation, erde_terms
from erde_nas.recipe import DistilSection

ExitsLoss = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""(exits, batch, classes) student logits, the same of the teacher or None, labels (batch,) -> scalar."""


def teacher_exits(student_macs: Sequence[float], teacher_shares: Sequence[float]) -> list[int]:
    """For each student exit the teacher exit of the nearest relative depth that is not shallower.

    `student_macs` are MACs per exit, `teacher_shares` rise to 1: a teacher exit's MACs as a share of the whole.
    """
    shares = [macs / student_macs[-1] for macs in student_macs]
    last = len(teacher_shares) - 1
    return [next((j for j, t in enumerate(teacher_shares) if t >= share - 1e-9), last) for share in shares]


def exit_weights(kind: str, exits: int) -> Tensor:
    """Weights (exits,) that sum to the number of exits: `uniform`, or `linear` in the exit's number."""
    weights = torch.ones(exits) if kind == "uniform" else torch.arange(1.0, exits + 1)
    return weights * exits / weights.sum()


def make_loss(section: DistilSection, exits: int) -> ExitsLoss:
    """The loss that trains `exits` exits: the weighted mean over exits of the batch's mean."""
    weights = exit_weights(section.exit_weights, exits)
    shared = section.model_dump(include={"temperature", "kd_weight", "entropy_adaptive"})

    def per_sample(student: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
        labels = labels.expand(student.shape[:-1])
        if section.loss == "ce" or teacher is None:
            return cross_entropy(student, labels)
        if section.loss == "kd":
            return cross_entropy(student, labels) + distillation(student, teacher, **shared)
        return erde_terms(student, teacher, labels, entropy_weight=section.entropy_weight, **shared)

    def loss(student: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
        return (per_sample(student, teacher, labels).mean(-1) * weights.to(student.device)).mean()

    return loss
