"""Crop, flip and cutout with parameters drawn for a whole data set at once.

The parameters come from a counter-based generator (Philox) keyed by (seed, view): an image has the same ones whether
it is augmented with all others or in a batch, from memory or from the disk. Pixels stay uint8.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from erde_nas.recipe.images import ViewsSection

FIRST_FLIPS = 2**63  # the key of no view


@dataclass(frozen=True)
class Augmentation:
    """What happens to each of n images; None: nothing of that kind. `fill` says what the padding holds."""

    padding: int
    side: int
    shifts: np.ndarray | None  # (n, 2), offsets into the padded image
    flipped: np.ndarray | None  # (n,)
    centres: np.ndarray | None  # (n, 2), of the blackened square
    fill: Literal["zeros", "reflect"] = "zeros"

    def of(self, chosen: np.ndarray) -> "Augmentation":
        """That of the images `chosen` (m,) alone."""
        shifts, flipped, centres = (
            None if values is None else values[chosen] for values in (self.shifts, self.flipped, self.centres)
        )
        return Augmentation(self.padding, self.side, shifts, flipped, centres, self.fill)

    def apply(self, images: Tensor) -> Tensor:
        """(n, channels, h, w) uint8 -> the same, augmented; the images themselves are left alone."""
        if self.shifts is not None:
            images = shift(images, self.shifts, self.padding, self.fill)
        if self.flipped is not None:
            flipped = torch.from_numpy(self.flipped).to(images.device)
            images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
        if self.centres is not None:
            images = cut_out(images, torch.from_numpy(self.centres).to(images.device), self.side)
        return images


def draw(section: ViewsSection, seed: int, number: int, images: int, shape: tuple[int, int]) -> Augmentation:
    """The augmentation of view `number` of so many images of `shape` (height, width)."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 2 * number]))
    height, width = shape
    shifts = flipped = centres = None
    if section.crop_padding:
        shifts = generator.integers(0, 2 * section.crop_padding + 1, size=(images, 2))
    if section.flip:
        flipped = generator.random(images) < 0.5
        if section.flip == "alternating":
            first = np.random.Generator(np.random.Philox(key=[seed, FIRST_FLIPS])).random(images) < 0.5
            flipped = first ^ (number % 2 == 1)
    if section.cutout:
        centres = np.stack([generator.integers(0, height, images), generator.integers(0, width, images)], 1)
    return Augmentation(section.crop_padding, section.cutout, shifts, flipped, centres, section.crop_fill)


def shift(images: Tensor, shifts: np.ndarray, padding: int, fill: Literal["zeros", "reflect"] = "zeros") -> Tensor:
    """Crop each image at its own offset (n, 2) from a border of `padding` zeros, or of the mirrored image."""
    height, width = images.shape[-2:]
    if fill == "zeros":
        padded = F.pad(images, [padding] * 4)
    else:
        rows, columns = (
            torch.from_numpy(np.pad(np.arange(side), padding, mode="reflect")).to(images.device)
            for side in (height, width)
        )
        padded = images[:, :, rows][:, :, :, columns]
    out = torch.empty_like(images)
    for dy, dx in np.unique(shifts, axis=0):
        chosen = torch.from_numpy(np.flatnonzero((shifts == (dy, dx)).all(1))).to(images.device)
        out[chosen] = padded[chosen, :, dy : dy + height, dx : dx + width]
    return out


def cut_out(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Blacken a square of `side` pixels around each image's centre (n, 2)."""
    height, width = images.shape[-2:]
    low = centres - side // 2
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    in_rows = (rows >= low[:, :1]) & (rows < low[:, :1] + side)  # (n, height)
    in_columns = (columns >= low[:, 1:]) & (columns < low[:, 1:] + side)  # (n, width)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1), 0)
