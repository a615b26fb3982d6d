"""What a run, or a comparison of losses, is about."""

from dataclasses import dataclass
from functools import cached_property

import torch

from erde_nas.data.dataset import Dataset
from erde_nas.networks.own.base import OwnBase
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.space.own_space import space_of_any
from erde_nas.space.space import Space


@dataclass(frozen=True)
class Task:
    """A recipe for the hardware of profiles, its data, and where it trains."""

    recipe: Recipe
    profiles: tuple[HardwareProfile, ...]
    dataset: Dataset
    device: torch.device
    deterministic: bool = False  # how steps run is fixed, not timed
    own: OwnBase | None = None  # the network of the user's own that students are made of

    @cached_property
    def space(self) -> Space:
        """What may vary between students."""
        return space_of_any(self.recipe, self.dataset, self.own)
