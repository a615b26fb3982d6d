"""A cascade: two finished networks in one row of exits. What the first is not sure of, the second answers.

The second network starts from the image again, so that nothing has to be trained (Viola and Jones, CVPR 2001; for
classifiers of several sizes: Wang et al., "Wisdom of Committees", arXiv 2012.01988). Where their answers are
`averaged`, an exit of the second answers with a mean of its logits and those of the first network's last exit: up
to a constant per image that is the mean of their log-probabilities.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork, blank


class Cascade(nn.Module):
    """Two networks for the same images and classes. Its exits are those of the first, then those of the second, which
    may be any module that maps images to a list of logits: a teacher of the user's own, of which the last count.

    `averaged` is the share of the first network's last logits in the answers of the second network's exits; 0: none.
    """

    def __init__(self, first: EarlyExitNetwork, second: nn.Module, averaged: float = 0.0) -> None:
        super().__init__()
        self.first, self.second, self.averaged = first, second, averaged

    @property
    def members(self) -> tuple[nn.Module, nn.Module]:
        """The networks in their order."""
        return self.first, self.second

    def forward(self, images: Tensor) -> list[Tensor]:
        """(batch, channels, h, w), pixels 0..255 -> the logits (batch, classes) of every exit."""
        first, second = self.first(images), list(self.second(images))
        second = second if isinstance(self.second, EarlyExitNetwork) else second[-1:]
        if self.averaged:
            second = [mix(first[-1], logits, self.averaged) for logits in second]
        return [*first, *second]

    def to_dict(self) -> dict[str, Any]:
        """What arch.json says of it; `from_dict` reads it where both networks are of our making."""
        second = self.second.arch.to_dict() if isinstance(self.second, EarlyExitNetwork) else None
        return {"cascade": [self.first.arch.to_dict(), second], "averaged": self.averaged}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Cascade":
        """A cascade of these shapes, whose weights are still to be loaded. Raises what `Arch.from_dict` does."""
        first, second = (blank(Arch.from_dict(arch)) for arch in values["cascade"])
        return cls(first, second, values["averaged"])


def mix(earlier: Tensor, logits: Tensor, averaged: float) -> Tensor:
    """The mean of logits (batch, classes) each, in which the earlier ones have the share `averaged`."""
    return averaged * earlier + (1 - averaged) * logits


def cascade_logits(first: np.ndarray, second: np.ndarray, averaged: float) -> np.ndarray:
    """What a cascade answers, of what its networks do: (exits, n, classes) each."""
    mean = (1 - averaged) * second + averaged * first[-1:]
    return np.concatenate([first, mean.astype(second.dtype) if averaged else second])


def cascade_costs(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    """The cost per exit, of that of its networks: who reaches the second has run through the whole first."""
    return (*first, *(first[-1] + cost for cost in second))
