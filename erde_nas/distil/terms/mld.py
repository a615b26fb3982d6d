"""MLD, multi-level logit distillation: Jin et al., CVPR 2023, summed over five temperatures.

The authors' are a base temperature, 4, beside 2, 3, 5 and 6; LS (Sun et al., CVPR 2024) sets the base to 2.

Softened predictions P (batch, classes) of teacher and student are compared at three levels and at each temperature T:

- instance: T² · KL, averaged over the batch;
- batch:    ‖P Pᵀ of the teacher - of the student‖² / N, how the samples relate to one another;
- class:    ‖Pᵀ P of the teacher - of the student‖² / C, how the C classes do.

The authors' N is the batch size: 64, with C = 100. Both matrices grow with it, so that the class level is in proportion
to (N / C)²: for 128 samples of 10 classes it would be 400 times as strong, and training diverges. Here N is 0.64 C, and
each sample counts N / batch: the paper's loss at the paper's 64 to 100, and as strong for any other batch.

The authors feed a weak and a strong augmentation of each image. In their code the weak one counts half (a mask over
half of the batch, or of the classes, is averaged), the strong one whole, but at the instance level alone: in all
1.5 : 0.5 : 0.5. Here there is one view, the one that all candidates share, in place of both, with the same weights.

Weights: a sample of weight w enters both matrices as w^¼ P, so that a pair of samples counts √(w w') in the batch
level, and a sample √w in the class level's matrix. Weights of 1 give the loss above, a weight of 0 is a sample that is
not there (the means are still over the whole batch), and c times all weights is c times the loss, as in KD. As in the
published code, EA-KD's weights and LS reach the instance level alone: the others compare plain logits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.step import Plain, Step, Term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection

PUBLISHED = (1.5, 0.5, 0.5)  # weights of the instance, the batch and the class level, over both of the authors' views
DENSITY = 64 / 100  # the authors' samples per class in a batch


def multi_level_loss(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    temperatures: Tensor,
    levels: Sequence[float] = (1.0, 1.0, 1.0),
    plain: Plain | None = None,
) -> Tensor:
    """The three levels times `levels`, summed over `temperatures` (n,): (exits, batch, classes) twice, (exits, batch)
    -> (exits,). The batch and the class level are those of `plain`, where that differs."""
    batch, classes = student.shape[-2:]
    softening = temperatures.view(-1, 1, 1, 1)
    student, teacher = student / softening, teacher / softening  # (n, exits, batch, classes)
    instances = (weight * kd_loss(student, teacher, 1.0)).mean(-1) * temperatures.unsqueeze(-1) ** 2
    if plain is not None:
        student, teacher, weight = plain.student / softening, plain.teacher / softening, plain.weight
    share = weight.pow(0.25).unsqueeze(-1) * (DENSITY * classes / batch) ** 0.5  # (exits, batch, 1)
    p, q = share * student.softmax(-1), share * teacher.softmax(-1)
    with torch.autocast(p.device.type, enabled=False):  # differences of products: bf16 would leave nothing of them
        between_samples = (p @ p.mT - q @ q.mT).square().sum((-2, -1)) / (DENSITY * classes)
        between_classes = (p.mT @ p - q.mT @ q).square().sum((-2, -1)) / classes
    return (levels[0] * instances + levels[1] * between_samples + levels[2] * between_classes).sum(0)


class MLD(Term):
    """Instance, batch and class level, with the weights `levels`, at each of `temperatures`."""

    temperatures: Tensor

    def __init__(self, temperatures: Sequence[float], levels: Sequence[float] = PUBLISHED) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.register_buffer("temperatures", torch.tensor(temperatures))

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "MLD":
        """See `Term.make`."""
        return cls(section.level_temperatures, section.mld_levels)

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        assert step.teacher is not None
        return multi_level_loss(step.student, step.teacher, weight, self.temperatures, self.levels, step.plain)
