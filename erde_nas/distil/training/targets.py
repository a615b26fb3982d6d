"""The teacher's logits that a training learns from, batch by batch."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from erde_nas.networks.network import EarlyExitNetwork


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
