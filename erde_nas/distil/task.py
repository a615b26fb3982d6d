"""What a run, or a comparison of losses, is about."""

from dataclasses import dataclass
from functools import cached_property

import torch

from erde_nas.data.dataset import Dataset
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.space.space import Space, space_of


@dataclass(frozen=True)
class Task:
    """A recipe for the hardware of profiles, its data, and where it trains."""

    recipe: Recipe
    profiles: tuple[HardwareProfile, ...]
    dataset: Dataset
    device: torch.device
    deterministic: bool = False  # how steps run is fixed, not timed

    @cached_property
    def space(self) -> Space:
        """What may vary between students."""
        return space_of(self.recipe, self.dataset)
