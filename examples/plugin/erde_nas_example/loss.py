"""Squared differences of logits: Ba and Caruana, Do Deep Nets Really Need to be Deep?, 2014 (arXiv 1312.6184)."""

from torch import Tensor

from erde_nas.distil.step import Step, Term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.section import Section


class LogitsOptions(Section):
    """What a recipe may say below `distil.options`."""

    centred: bool = False  # compare logits without their mean over the classes, which a softmax ignores


class Logits(Term):
    """Half the squared difference to the teacher's logits, averaged over the classes."""

    Options = LogitsOptions

    def __init__(self, options: LogitsOptions) -> None:
        super().__init__()
        self.options = options

    @classmethod
    def make(cls, section: DistilSection, student: EarlyExitNetwork, teacher: EarlyExitNetwork | None) -> "Logits":
        """The term as the recipe wants it."""
        return cls(section.options_as(LogitsOptions))

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        """The mean over the batch for each exit (exits,); `weight` (exits, batch) says how much each sample counts."""
        difference = step.student - step.teacher  # (exits, batch, classes)
        if self.options.centred:
            difference = difference - difference.mean(-1, keepdim=True)
        return (weight * difference.square().mean(-1) / 2).mean(-1)
