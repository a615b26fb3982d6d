"""How a training step runs on this machine, and the logits that it learns from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from erde_nas.networks.network import EarlyExitNetwork

Layout = Literal["channels_last", "contiguous"]
MEMORY_FORMATS: dict[Layout, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}


@dataclass(frozen=True)
class Compute:
    """`fp32` or `bf16`, threads, the seconds a step took when this was chosen, and the order of the axes in memory."""

    precision: str
    threads: int
    seconds_per_step: float
    layout: Layout = "channels_last"

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch calls it."""
        return MEMORY_FORMATS[self.layout]


@dataclass(frozen=True)
class Targets:
    """Teacher logits (views, images, teacher exits, classes) fp16, and the teacher exit that each student exit uses.

    `network` is the teacher itself, for objectives that need its features.
    """

    logits: Tensor
    exits: tuple[int, ...]
    network: EarlyExitNetwork | None = None

    def batch(self, view: int, chosen: Tensor) -> Tensor:
        """(student exits, batch, classes) float32."""
        rows = self.logits[view].index_select(0, chosen)  # (batch, teacher exits, classes)
        return rows.index_select(1, self._exits).transpose(0, 1).float()

    @cached_property
    def _exits(self) -> Tensor:
        """Kept on the device: indexing by a list would wait for a copy in every step."""
        return torch.tensor(self.exits, device=self.logits.device)
