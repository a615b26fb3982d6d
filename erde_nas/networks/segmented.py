"""A network in segments, each of which ends in an exit: what runs between two exits, and how an image passes them."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from erde_nas.device.exit_rules import ENTROPY, ExitRule


class Segment(nn.Module):
    """What runs between two exits: `body`, then the head of the exit it ends in."""

    head: Any  # a `Head`; the last one of a network of others' making is whatever gives its logits

    def __init__(self, body: nn.Sequential, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images or the features of the segment before -> (features, logits (batch, classes))."""
        features = self.body(x)
        return features, self.head(features)


class SegmentedNetwork(nn.Module):
    """Segments in a row; the head of each is an exit."""

    def __init__(self) -> None:
        super().__init__()
        self.segments = nn.ModuleList()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, h, w) of the images that it takes."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """What arch.json says of it."""
        raise NotImplementedError

    @property
    def parts(self) -> list[Segment]:
        """The segments, with their type."""
        return cast(list[Segment], list(self.segments))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(batch, channels, h, w), pixels 0..255 -> the logits (batch, classes) of every exit."""
        logits, x = [], images
        for segment in self.segments:
            x, out = segment(x)
            logits.append(out)
        return logits

    @torch.no_grad()
    def forward_until_exit(
        self, images: Tensor, thresholds: Sequence[float], rule: ExitRule = ENTROPY
    ) -> tuple[Tensor, Tensor]:
        """Route each image by itself: it leaves where its score is below the exit's threshold.

        `thresholds` has one value per exit but the last. Returns logits (batch, classes) and exit index (batch,).
        """
        if len(thresholds) != len(self.segments) - 1:
            raise ValueError(f"need {len(self.segments) - 1} thresholds, but got {len(thresholds)}")
        waiting = torch.arange(len(images), device=images.device)
        logits = torch.empty(0)
        exit_index = torch.full((len(images),), len(self.segments) - 1, device=images.device)
        x, so_far = images, list[np.ndarray]()
        for number, segment in enumerate(self.segments):
            if number and not len(waiting):
                break
            x, out = segment(x)
            logits = logits if number else torch.empty(len(images), out.shape[1], device=images.device)
            so_far.append(out.float().cpu().numpy())
            leaves = torch.ones(len(out), dtype=torch.bool)
            if number < len(thresholds):
                leaves = torch.from_numpy(rule.score(so_far) < thresholds[number])
            so_far, leaves = [early[~leaves.numpy()] for early in so_far], leaves.to(out.device)
            logits[waiting[leaves]] = out[leaves].float()
            exit_index[waiting[leaves]] = number
            x, waiting = x[~leaves], waiting[~leaves]
        return logits, exit_index
