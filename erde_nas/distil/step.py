"""What a loss may look at in one training step, and the interface of the exchangeable distillation terms."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn


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


@dataclass(frozen=True)
class Plain:
    """Logits of both as the networks gave them, and the weights of the samples (exits, batch) without EA-KD's."""

    student: Tensor
    teacher: Tensor
    weight: Tensor


class Term(nn.Module):
    """A distillation loss. Its parameters, if it has any, are trained with the student's and thrown away."""

    needs_features = False
    uncached = ""  # one line for the user on what every step computes again, because no cache holds it

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """The mean over the batch for each exit (exits,); `weight` (exits, batch) says how much each sample counts."""
        raise NotImplementedError
