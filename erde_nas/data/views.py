"""Augmented views of the training images, made once per epoch number and shared by every candidate.

A view's parameters come from a counter-based generator (Philox) keyed by (seed, view), for the whole data set at once:
every candidate sees the same pixels in the same epoch, so a teacher's answers to them can be cached. Pixels stay uint8.
"""

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from erde_nas.recipe import ViewsSection
from erde_nas.records import Split

KEPT_BYTES = 256 * 2**20


class Views:
    """Views of `split` on `device`; any number of them. Without augmentation all are the images themselves."""

    def __init__(self, split: Split, section: ViewsSection, *, seed: int, device: torch.device) -> None:
        self.images = torch.from_numpy(split.images).to(device)  # (n, channels, h, w) uint8
        self.labels = torch.from_numpy(split.labels).to(device)  # (n,)
        self.section, self.seed = section, seed
        self._kept: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.labels)

    def count(self, epochs: int) -> int:
        """How many different views `epochs` epochs of distillation see; they cycle through `section.cached_views`."""
        varies = self.section.crop_padding or self.section.flip or self.section.cutout
        return min(self.section.cached_views, epochs) if varies else 1

    def view(self, number: int) -> Tensor:
        """View `number` of all images: (n, channels, h, w) uint8."""
        if number not in self._kept:
            self._kept[number] = self._make(number)
            while len(self._kept) > 1 and sum(v.nbytes for v in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return self._kept[number]

    def order(self, epoch: int, repetition: int = 0) -> Tensor:
        """The order (n,) in which epoch number `epoch` visits the images; another one for each `repetition`."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed + (repetition << 32), 2 * epoch + 1]))
        return torch.from_numpy(generator.permutation(len(self))).to(self.images.device)

    def _make(self, number: int) -> Tensor:
        generator = np.random.Generator(np.random.Philox(key=[self.seed, 2 * number]))
        n, _, height, width = self.images.shape
        view, section = self.images, self.section
        if section.crop_padding:
            shifts = generator.integers(0, 2 * section.crop_padding + 1, size=(n, 2))
            view = _shift(view, shifts, section.crop_padding)
        if section.flip:
            flipped = torch.from_numpy(generator.random(n) < 0.5).to(view.device)
            view = torch.where(flipped[:, None, None, None], view.flip(-1), view)
        if section.cutout:
            centres = np.stack([generator.integers(0, height, n), generator.integers(0, width, n)], 1)
            view = _cut_out(view, torch.from_numpy(centres).to(view.device), section.cutout)
        return view


def _shift(images: Tensor, shifts: np.ndarray, padding: int) -> Tensor:
    """Crop each image at its own offset (n, 2) from a border of `padding` zeros."""
    height, width = images.shape[-2:]
    padded = F.pad(images, [padding] * 4)
    out = torch.empty_like(images)
    for dy, dx in np.unique(shifts, axis=0):
        chosen = torch.from_numpy(np.flatnonzero((shifts == (dy, dx)).all(1))).to(images.device)
        out[chosen] = padded[chosen, :, dy : dy + height, dx : dx + width]
    return out


def _cut_out(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Blacken a square of `side` pixels around each image's centre (n, 2)."""
    height, width = images.shape[-2:]
    low = centres - side // 2
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    in_rows = (rows >= low[:, :1]) & (rows < low[:, :1] + side)  # (n, height)
    in_columns = (columns >= low[:, 1:]) & (columns < low[:, 1:] + side)  # (n, width)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1), 0)
