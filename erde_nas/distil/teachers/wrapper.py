"""Teachers that are no early-exit networks of this project: a program of `torch.export`, or a model of timm.

Both take the data set's pixels like every network here and prepare them for a program that knows nothing of that.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset
from erde_nas.networks.network import Normalize
from erde_nas.networks.programs.program import ANY, Batch, Program

Kind = Literal["logits", "probabilities", "sigmoids"]
LEAST = 1e-12  # of a probability, before its logarithm is taken


class Answer(nn.Module):
    """What a program gives -> logits (batch, classes) in the data set's order of classes, one per exit.

    `kinds` has one entry per exit. `order` holds, for each class of the data set, its number in the program's output.
    """

    order: Tensor | None

    def __init__(self, kinds: Sequence[Kind] = (), order: Sequence[int] | None = None) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.register_buffer("order", None if order is None else torch.tensor(order))

    def forward(self, given: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """One tensor, or one per exit: (batch, classes), whatever axes of one follow."""
        outs = [given] if isinstance(given, Tensor) else list(given)
        kinds: list[Kind] = list(self.kinds) or ["logits" for _ in outs]
        return [self._logits(out, kind) for out, kind in zip(outs, kinds, strict=True)]

    def _logits(self, out: Tensor, kind: Kind) -> Tensor:
        logits = out.flatten(1) if out.dim() > 2 else out
        if kind == "probabilities":
            logits = logits.float().clamp_min(LEAST).log()
        elif kind == "sigmoids":
            logits = logits.float().clamp_min(LEAST).log() - (1 - logits.float()).clamp_min(LEAST).log()
        return logits if self.order is None else logits.index_select(1, self.order)


class ForeignTeacher(nn.Module):
    """`prepare` makes of pixels what `program` takes; `answer` makes logits of what that gives, shallowest first."""

    def __init__(self, prepare: nn.Module, program: nn.Module, answer: Answer | None = None) -> None:
        super().__init__()
        self.prepare, self.program, self.answer = prepare, program, answer or Answer()

    def forward(self, images: Tensor) -> list[Tensor]:
        """(batch, channels, h, w), pixels 0..255 -> list of (batch, classes)."""
        return self.answer(self.program(self.prepare(images)))

    def exit(self, number: int) -> "ForeignTeacher":
        """The teacher with one of its exits alone, which runs only what leads there; one without exits is itself."""
        if not isinstance(self.program, Program):
            return self
        kinds = self.answer.kinds[number:][:1]
        order = None if self.answer.order is None else self.answer.order.tolist()
        device = next((buffer.device for buffer in self.prepare.buffers()), None)
        answer = Answer(kinds, order).to(device)
        return ForeignTeacher(self.prepare, self.program.kept([number]), answer).eval()

    @property
    def batch(self) -> Batch:
        """How many images it takes at once without being run several times."""
        return self.program.batch if isinstance(self.program, Program) else ANY


class ProgramTeacher(ForeignTeacher):
    """A `torch.export` program, which takes images normalised with the training split's mean and deviation, unless
    `prepare` says otherwise."""

    def __init__(
        self, program: nn.Module, dataset: Dataset, prepare: nn.Module | None = None, answer: Answer | None = None
    ) -> None:
        super().__init__(prepare or Normalize(dataset.mean, dataset.std), program, answer)

    def train(self, mode: bool = True) -> "ProgramTeacher":
        """Exported programs have no training mode."""
        self.training = False
        return self


class Arranged(nn.Module):
    """Pixels 0..255 as a program takes them: `pixels` of its own type, or normalised, in its `layout`."""

    def __init__(self, normalize: nn.Module | None, dtype: torch.dtype, layout: str) -> None:
        super().__init__()
        self.normalize, self.dtype, self.layout = normalize, dtype, layout

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, h, w) -> the same, (batch, h, w, channels), (batch, h, w) or (batch, numbers)."""
        x = images.to(self.dtype) if self.normalize is None else self.normalize(images)
        if self.layout == "channels last":
            x = x.permute(0, 2, 3, 1)
        elif self.layout == "no channels":
            x = x.squeeze(1)
        elif self.layout == "flat":
            x = x.flatten(1)
        return x.clone(memory_format=torch.contiguous_format)  # a `view` in the program needs plain strides
