"""Teachers that are no early-exit networks of this project: a program of `torch.export`, or a model of timm.

Both take the data set's pixels like every network here and prepare them for a program that knows nothing of that.
"""

from torch import Tensor, nn

from erde_nas.records import Dataset
from erde_nas.students.network import Normalize


class ForeignTeacher(nn.Module):
    """`prepare` makes of pixels what `program` takes; that gives logits or a sequence of them, shallowest first."""

    def __init__(self, prepare: nn.Module, program: nn.Module) -> None:
        super().__init__()
        self.prepare, self.program = prepare, program

    def forward(self, images: Tensor) -> list[Tensor]:
        """(batch, channels, h, w), pixels 0..255 -> list of (batch, classes)."""
        logits = self.program(self.prepare(images))
        return [logits] if isinstance(logits, Tensor) else list(logits)


class ProgramTeacher(ForeignTeacher):
    """A `torch.export` program, which takes images normalised with the training split's mean and deviation."""

    def __init__(self, program: nn.Module, dataset: Dataset) -> None:
        super().__init__(Normalize(dataset.mean, dataset.std), program)

    def train(self, mode: bool = True) -> "ProgramTeacher":
        """Exported programs have no training mode."""
        self.training = False
        return self
