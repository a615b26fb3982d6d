"""What a loss may look at in one training step, and the interface of the exchangeable distillation terms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.section import Section


@dataclass(frozen=True)
class Step:
    """One batch. Every row of `teacher` is the teacher exit that the student exit of the same row learns from."""

    student: Tensor  # logits (exits, batch, classes) float32
    labels: Tensor  # (batch,)
    teacher: Tensor | None = None  # logits (exits, batch, classes) float32
    done: float | Tensor = 0.0  # share of the training that is done, 0..1
    student_features: Sequence[Tensor] = field(default=())  # as `EarlyExitNetwork.forward_all` gives them
    teacher_features: Sequence[Tensor] = field(default=())  # the same of the teacher
    plain: "Plain | None" = None  # where the logits above are standardised, or a term's weights hold EA-KD's
    smoothing: float = 0.0  # of the labels


@dataclass(frozen=True)
class Plain:
    """Logits of both as the networks gave them, and the weights of the samples (exits, batch) without EA-KD's."""

    student: Tensor
    teacher: Tensor
    weight: Tensor


class Term(nn.Module):
    """A distillation loss. Its parameters, if it has any, are trained with the student's and thrown away.

    `registry.TERMS` names the terms, those of plug-ins included.
    """

    Options: ClassVar[type[Section] | None] = None  # a plug-in's keys below `distil.options`
    own_weights = False  # whether it has weights or settings that belong to one student
    needs_features = False
    uncached = ""  # one line for the user on what every step computes again, because no cache holds it

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "Term":
        """The term as a recipe's section wants it. `teacher` is None where it gives logits alone.

        Raises UserError where the term needs more than that.
        """
        raise NotImplementedError

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """The mean over the batch for each exit (exits,); `weight` (exits, batch) says how much each sample counts."""
        raise NotImplementedError
