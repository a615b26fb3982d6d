"""The user's own network, taken apart where it can be cut, and put together again with exits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset, image_shape, square_shape
from erde_nas.data.on_disk import read_pixels
from erde_nas.distil.frozen.features import Backbone
from erde_nas.distil.teachers.load import checkpoint_path, read_checkpoint
from erde_nas.distil.teachers.wrapper import Arranged, ForeignTeacher
from erde_nas.errors import UserError
from erde_nas.networks.arch import Exit
from erde_nas.networks.attached import LAST, AttachedArch, AttachedHead, AttachedNetwork, LastLogits, Place
from erde_nas.networks.own.base import OwnBase, make_base, remember, saved_base
from erde_nas.networks.own.network import OwnNetwork, load_own
from erde_nas.networks.placement import Cut
from erde_nas.networks.programs.program import TRIED
from erde_nas.recipe.recipe import Recipe, TeacherSection


class Cuttable(Protocol):
    """A network (batch, ...) -> logits (batch, classes) that can be cut into modules."""

    @property
    def cuts(self) -> Sequence[Cut]: ...
    def pieces(self, numbers: Sequence[int]) -> list[nn.Module]: ...


@dataclass(frozen=True)
class OwnModel:
    """`network` takes what `prepare` makes of pixels 0..255; `order`: where the data's classes are in its logits."""

    program: str  # the name of its file
    network: Cuttable
    prepare: nn.Module
    order: Tensor | None
    image_shape: tuple[int, int, int]
    classes: int

    def backbone(self, places: Sequence[Place]) -> Backbone:
        """What is frozen, cut at the places."""
        pieces = self.network.pieces([place.number for place in places])
        return Backbone(places, pieces, self.prepare, LastLogits(self.order))

    def attached(self, exits: Sequence[tuple[Place, str, AttachedHead]]) -> AttachedNetwork:
        """The network with these heads, each of a kind at a place, shallowest first; its last exit is itself."""
        early = [Exit(place.number, kind) for place, kind, _ in exits]
        end = Exit(len(self.network.cuts), LAST)
        arch = AttachedArch(self.program, self.image_shape, self.classes, (*early, end))
        pieces = self.network.pieces([place.number for place, _, _ in exits])
        heads = [head for _, _, head in exits]
        return AttachedNetwork(arch, pieces, heads, self.prepare, LastLogits(self.order)).eval()


def searched_base(recipe: Recipe, dataset: Dataset, run: Path) -> OwnBase | None:
    """The network of the user's own that the recipe's students are made of, as the run keeps it, or from its file; None
    where they are of families.

    Raises UserError where it cannot be used with the data, or students not be made of it.
    """
    if recipe.space.own is None:
        return None
    if (saved := saved_base(run)) is not None:
        return saved
    square_shape(dataset)
    model = take_apart(recipe.teacher, dataset)
    prepare = model.prepare
    if not isinstance(prepare, Arranged) or prepare.normalize is None or prepare.layout:
        raise UserError(
            f"{model.program} must take normalised images (batch, channels, height, width) to be searched; export it "
            "so, or use `erde-nas exits`"
        )
    assert isinstance(model.network, OwnNetwork)
    scale, shift = (getattr(prepare.normalize, name) for name in ("scale", "shift"))
    return remember(make_base(model.network, model.program, model.image_shape, scale, shift, model.order))


def take_apart(section: TeacherSection, dataset: Dataset) -> OwnModel:
    """The program of `section.checkpoint`. Raises UserError where it cannot be used with the data, or not be cut."""
    path = checkpoint_path(section)
    if path.suffix != ".pt2" or section.timm is not None:
        raise UserError(f"{path} must be a program that torch.export.save wrote (.pt2) to be given exits")
    teacher = read_checkpoint(section, dataset, torch.device("cpu")).network
    assert isinstance(teacher, ForeignTeacher)
    pixels = torch.from_numpy(read_pixels(dataset.train, np.arange(min(TRIED, len(dataset.train)))))
    network = load_own(path, teacher.prepare(pixels))
    return OwnModel(
        Path(path).name, network, teacher.prepare, teacher.answer.order, image_shape(dataset), len(dataset.classes)
    )
