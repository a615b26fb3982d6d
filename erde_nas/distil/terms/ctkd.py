"""CTKD, curriculum temperature: Li et al., AAAI 2023, arXiv 2211.16231; its global temperature, one for each exit.

KD at a temperature that is learned against the student: the temperature's gradient is reversed, so that it makes the
loss large while the student makes it small. The reversal rises from 0 to 1 as half a cosine (eq. 11), from easy to
hard. The recipe's `temperature` plays no part.
"""

import math

import torch
from torch import Tensor, nn

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.objective import rising
from erde_nas.distil.step import Step, Term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection

LEAST, RANGE = 1.0, 20.0  # temperatures from 1 to 21; at the start LEAST + RANGE · σ(1) = 15.6, as the authors set it
RISE = 1 / 24  # share of the training over which the reversal rises: the authors' 10 of 240 epochs, 5 of 120


def reversal(done: float | Tensor) -> float | Tensor:
    """λ: 0 at the start of the training, 1 once the share RISE of it is done."""
    angle = math.pi * rising(done, RISE)
    return 0.5 * (1 - (torch.cos(angle) if isinstance(angle, Tensor) else math.cos(angle)))


class CTKD(Term):
    """T² · KL(teacher ‖ student) at the learned temperature of each exit."""

    own_weights = True

    def __init__(self, exits: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.ones(exits))

    def temperature(self, done: float | Tensor) -> Tensor:
        """(exits,); what flows back to `raw` is multiplied by -λ."""
        fixed = self.raw.detach()
        reversed_ = fixed + reversal(done) * (fixed - self.raw)  # the value is `raw`, exactly
        return LEAST + RANGE * torch.sigmoid(reversed_)

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "CTKD":
        """See `Term.make`."""
        return cls(len(student.arch.exits))

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        assert step.teacher is not None
        temperature = self.temperature(step.done).view(-1, 1, 1)  # (exits, 1, 1)
        loss = kd_loss(step.student / temperature, step.teacher / temperature, 1.0)  # (exits, batch)
        return (weight * temperature.squeeze(-1) ** 2 * loss).mean(-1)
