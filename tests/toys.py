"""One small implementation of each kind of name, which tests register for a while."""

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.raw import Raw
from erde_nas.distil.step import Step, Term
from erde_nas.networks.arch import Block
from erde_nas.networks.families import Family
from erde_nas.networks.heads import Head, HeadKind
from erde_nas.recipe.section import Section
from erde_nas.space.trial import Proposal


class PlainConvolution(nn.Module):
    """A k×k convolution and its norm."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, block.width, block.kernel, block.stride, block.kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(block.width)

    def channels(self) -> tuple[int, int]:
        return self.conv.out_channels, 0

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


FAMILY = Family(lambda inputs, stage, stride: Block(stage.width, 0, stage.kernel, stride, "none"), PlainConvolution)
HEAD = HeadKind(lambda channels, size, classes, width: Head(nn.Sequential(nn.MaxPool2d(size)), channels, classes))


class Difference(Term):
    """|student - teacher| to a power, summed over the classes."""

    class Options(Section):
        power: int = 1

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    @classmethod
    def make(cls, section, student, teacher):
        return cls(section.options_as(cls.Options).power)

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        return (weight * ((step.student - step.teacher).abs() ** self.power).sum(-1)).mean(-1)


class FirstChoices:
    """Everything has its first choice, but for the parameter that the seed picks."""

    def __init__(self, space, *, objectives, population):
        self.space, self.told = space, []

    def suggest(self, seed, seen):
        params = {name: choices[0] for name, choices in self.space.parameters.items()}
        name = sorted(params)[seed % len(params)]
        return Proposal({**params, name: self.space.parameters[name][-1]})

    def tell(self, trial):
        self.told.append(trial)


def read_halves(section, data_dir):
    """Images that are bright on the left, or on the right."""
    images = np.zeros((40, 1, 8, 8), np.uint8)
    images[::2, ..., :4], images[1::2, ..., 4:] = 200, 200
    return Raw(Split(images, np.arange(40) % 2), classes=("left", "right"))


DATASET = DatasetKind(read_halves, licence="CC0", origin="drawn by a test", keys=("path",))
