"""KD: Hinton et al., arXiv 1503.02531, sec. 2, as EA-KD's eq. 3 writes it (arXiv 2311.13621)."""

from torch import Tensor

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.step import Step, Term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection


class KD(Term):
    """T² · KL(teacher ‖ student) at temperature T."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "KD":
        """See `Term.make`."""
        return cls(section.temperature)

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """(exits,)."""
        assert step.teacher is not None
        return (weight * kd_loss(step.student, step.teacher, self.temperature)).mean(-1)
