"""MLD, multi-level logit distillation: Jin et al., CVPR 2023, over several temperatures (the authors': 2, 3, 4, 5, 6).

Softened predictions P (batch, classes) of teacher and student are compared at three levels and at each temperature T:

- instance: T² · KL, averaged over the batch;
- batch:    ‖P Pᵀ of the teacher - of the student‖² / N, how the samples relate to one another;
- class:    ‖Pᵀ P of the teacher - of the student‖² / C, how the C classes do.

The authors' N is the batch size: 64, with C = 100. Both matrices grow with it, so that the class level is in proportion
to (N / C)²: for 128 samples of 10 classes it would be 400 times as strong, and training diverges. Here N is 0.64 C, and
each sample counts N / batch: the paper's loss at the paper's 64 to 100, and as strong for any other batch.

The authors feed a weak and a strong augmentation of each image and damp the weak one's levels where the teacher is
confident. Here there is one view, the one that all candidates share, and it counts in full.

Weights: a sample of weight w enters both matrices as w^¼ P, so that a pair of samples counts √(w w') in the batch
level, and a sample √w in the class level's matrix. Weights of 1 give the loss above, a weight of 0 is a sample that is
not there (the means are still over the whole batch), and c times all weights is c times the loss, as in KD. EA-KD's
published code weights the instance level alone, and standardises (LS) that level alone; here both reach all levels.
"""

import torch
from torch import Tensor

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.step import Step, Term

SPREAD = (0.5, 0.75, 1.0, 1.25, 1.5)  # times the recipe's `temperature`: the authors' five around 4
DENSITY = 64 / 100  # the authors' samples per class in a batch


def multi_level_loss(student: Tensor, teacher: Tensor, weight: Tensor, temperatures: Tensor) -> Tensor:
    """The three levels, summed over `temperatures` (n,): (exits, batch, classes) twice, (exits, batch) -> (exits,)."""
    batch, classes = student.shape[-2:]
    softening = temperatures.view(-1, 1, 1, 1)
    student, teacher = student / softening, teacher / softening  # (n, exits, batch, classes)
    instances = (weight * kd_loss(student, teacher, 1.0)).mean(-1) * temperatures.unsqueeze(-1) ** 2
    share = weight.pow(0.25).unsqueeze(-1) * (DENSITY * classes / batch) ** 0.5  # (exits, batch, 1)
    p, q = share * student.softmax(-1), share * teacher.softmax(-1)
    with torch.autocast(p.device.type, enabled=False):  # differences of products: bf16 would leave nothing of them
        between_samples = (p @ p.mT - q @ q.mT).square().sum((-2, -1)) / (DENSITY * classes)
        between_classes = (p.mT @ p - q.mT @ q).square().sum((-2, -1)) / classes
    return (instances + between_samples + between_classes).sum(0)


class MLD(Term):
    """Instance, batch and class level at `SPREAD` times `temperature`."""

    temperatures: Tensor

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.register_buffer("temperatures", temperature * torch.tensor(SPREAD))

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        assert step.teacher is not None
        return multi_level_loss(step.student, step.teacher, weight, self.temperatures)
