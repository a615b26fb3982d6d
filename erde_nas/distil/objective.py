"""The loss of all exits at once, as a recipe's `distil` section describes it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.distil.logit_standardisation import standardise
from erde_nas.distil.losses import confidence_where_wrong, cross_entropy, teacher_is_right
from erde_nas.distil.self_distillation import self_distillation
from erde_nas.distil.step import Plain, Step, Term
from erde_nas.recipe.distil import DistilSection

DEPTH_SLACK = 0.02  # of the whole network: exits at the ends of the same stage differ by less


def teacher_exits(student_macs: Sequence[float], teacher_shares: Sequence[float], kind: str = "matching") -> list[int]:
    """For each student exit the teacher exit that it learns from.

    `matching`: the nearest relative depth that is not shallower by more than DEPTH_SLACK; `nearest`: that on either
    side; or the `last`. `student_macs` are MACs per exit, `teacher_shares` rise to 1: a teacher exit's MACs as a share
    of the whole.
    """
    last = len(teacher_shares) - 1
    if kind == "last":
        return [last] * len(student_macs)
    shares = [macs / student_macs[-1] for macs in student_macs]
    if kind == "nearest":
        return [int(np.abs(np.subtract(teacher_shares, share)).argmin()) for share in shares]
    return [next((j for j, t in enumerate(teacher_shares) if t >= share - DEPTH_SLACK), last) for share in shares]


def exit_weights(kind: str, macs: Sequence[float]) -> Tensor:
    """Weights (exits,) that sum to the number of exits: `uniform`, `linear` in the exit's number, or as its `macs`."""
    exits = len(macs)
    relative = {"uniform": [1.0] * exits, "linear": [i + 1.0 for i in range(exits)], "macs": list(map(float, macs))}
    weights = torch.tensor(relative[kind])
    return weights * exits / weights.sum()


def rising(done: float | Tensor, over: float) -> float | Tensor:
    """From 0 at the start of the training to 1 once a share `over` of it is done."""
    if over == 0:
        return 1.0
    return torch.clamp(done / over, max=1.0) if isinstance(done, Tensor) else min(1.0, done / over)


class Objective(nn.Module):
    """The weighted mean over exits of each exit's loss, averaged over the batch.

    `macs` are the student's MACs per exit, `term` the distillation term. Without a teacher in the step, only
    cross-entropy and self-distillation are left.
    """

    weights: Tensor
    entropy_weights: Tensor

    def __init__(self, section: DistilSection, macs: Sequence[float], term: Term | None = None) -> None:
        super().__init__()
        self.section, self.method, self.term = section, section.method, term
        self.register_buffer("weights", exit_weights(section.exit_weights, macs))
        where = torch.ones(len(macs))  # exits that have ERDE's entropy term
        if section.entropy_exits == "early" or len(macs) == 1:
            where[-1] = 0
        self.register_buffer("entropy_weights", section.entropy_weight * where)

    @property
    def needs_features(self) -> bool:
        """Whether every step must run the teacher, because its features cannot be cached."""
        return self.term is not None and self.term.needs_features

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        labels = step.labels.expand(step.student.shape[:-1])
        loss = cross_entropy(step.student, labels, step.smoothing).mean(-1)  # (exits,)
        loss = self.section.ce_weight * loss
        if step.teacher is not None:
            loss = loss + self._taught(step, step.teacher)
        if self.method.self_distillation != "none":
            kind, temperature = self.method.self_distillation, self.section.temperature
            loss = loss + self.section.self_weight * self_distillation(step.student, kind, temperature)
        return (loss * self.weights).mean()

    def _taught(self, step: Step, teacher: Tensor) -> Tensor:
        """What the teacher adds to each exit's loss (exits,)."""
        added = torch.zeros_like(self.weights)
        weight = teacher.new_ones(teacher.shape[:-1])  # (exits, batch)
        if self.method.erde:
            right = teacher_is_right(teacher, step.labels)
            weight = right + self.method.wrong_weight * (1 - right)
            regulariser = self.entropy_weights * confidence_where_wrong(step.student, right).mean(-1)
            added = rising(step.done, self.section.entropy_warmup) * regulariser
        if self.term is None:
            return added
        if self.method.entropy_adaptive or self.method.logit_standardisation:
            step = replace(step, plain=Plain(step.student, teacher, weight))
        if self.method.entropy_adaptive:
            weight = weight * entropy_adaptive_weight(step.student, teacher, self.section.ea_temperature)
        if self.method.logit_standardisation:
            step = replace(step, student=standardise(step.student), teacher=standardise(teacher))
        kd_weight = self.section.kd_weight * rising(step.done, self.section.kd_warmup)
        return added + kd_weight * self.term(step, weight)


def cross_entropy_objective(exits: int, head_gradient: float = 1.0) -> Objective:
    """Cross-entropy at every exit, equally: how a teacher is trained. `head_gradient` as in the distil section."""
    return Objective(DistilSection(loss="ce", head_gradient=head_gradient), [1.0] * exits)
