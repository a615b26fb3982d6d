"""Augmented views of the training images, made once per epoch number and shared by every candidate.

A view's parameters are keyed by (seed, view), for the whole data set at once: every candidate sees the same pixels in
the same epoch, so a teacher's answers to them can be cached. Pixels stay uint8. Images in memory are augmented all at
once and kept; images on the disk are read and augmented batch by batch, with the same parameters.
"""

from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from erde_nas.data.augment import Augmentation, draw
from erde_nas.data.dataset import Split
from erde_nas.data.on_disk import read_pixels
from erde_nas.data.stream import read_ahead
from erde_nas.networks.whitening import patch_covariance
from erde_nas.recipe.images import ViewsSection

KEPT_BYTES = 256 * 2**20
SAMPLED = 2000  # images, of which patches are looked at


class Views:
    """Views of `split` on `device`; any number of them. Without augmentation all are the images themselves.

    `data` is the fingerprint of the data set, by which a cache of answers to its views is told from others.
    """

    def __init__(self, split: Split, section: ViewsSection, *, seed: int, device: torch.device, data: str = "") -> None:
        self.split, self.section, self.seed, self.data = split, section, seed, data
        self.images = torch.from_numpy(split.images).to(device)  # (n, channels, h, w) uint8; none where streamed
        self.labels = torch.from_numpy(split.labels).to(device)  # (n,)
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._drawn: tuple[int, Augmentation] | None = None  # of the last streamed view
        self._making = Lock()  # candidates may be trained by several threads

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where the labels and the batches are."""
        return self.labels.device

    @property
    def streamed(self) -> bool:
        """Whether the images stay on the disk: then every batch is read and augmented again."""
        return self.split.paths is not None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every view."""
        channels, height, width = self.split.images.shape[1:]
        return channels, height, width

    @cached_property
    def patch_covariance(self) -> Tensor:
        """That of 2×2 patches of the first images (4 channels, 4 channels) float64, on the CPU: see `whitening`."""
        first = np.arange(min(len(self), SAMPLED))
        pixels = read_pixels(self.split, first) if self.streamed else self.split.images[first]
        return patch_covariance(torch.from_numpy(pixels))

    def count(self, epochs: int) -> int:
        """How many different views `epochs` epochs of distillation see; they cycle through `section.cached_views`."""
        varies = self.section.crop_padding or self.section.flip or self.section.cutout
        return min(self.section.cached_views, epochs) if varies else 1

    def view(self, number: int) -> Tensor:
        """View `number` of all images: (n, channels, h, w) uint8. Not for streamed ones: they do not fit."""
        if self.streamed:
            raise RuntimeError("the images stay on the disk; use batch or batches")
        with self._making:
            if number not in self._kept:
                self._kept[number] = self._augmentation(number).apply(self.images)
                while len(self._kept) > 1 and sum(v.nbytes for v in self._kept.values()) > KEPT_BYTES:
                    self._kept.popitem(last=False)
            return self._kept[number]

    def batch(self, number: int, chosen: Tensor) -> Tensor:
        """The images `chosen` (batch,) of view `number`: (batch, channels, h, w) uint8 on the device.

        Streamed images are read from the disk here and now; `batches` reads ahead.
        """
        if not self.streamed:
            return self.view(number)[chosen]
        indices = chosen.cpu().numpy()
        return self._augmented(number, indices, read_pixels(self.split, indices))

    def batches(
        self, number: int, order: Tensor, batch_size: int, *, rest: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Equal batches of view `number` in `order`: (chosen (batch,), images (batch, channels, h, w) uint8).

        A short rest is left out unless `rest` asks for it (batch norm dislikes tiny batches); fewer images than one
        batch are one batch.
        """
        groups = split_order(order, batch_size, rest=rest)
        if not self.streamed:
            for chosen in groups:
                yield chosen, self.batch(number, chosen)
            return
        indices = [chosen.cpu().numpy() for chosen in groups]
        for chosen, own, pixels in zip(groups, indices, read_ahead(self.split, indices), strict=True):
            yield chosen, self._augmented(number, own, pixels)

    def order(self, epoch: int, repetition: int = 0) -> Tensor:
        """The order (n,) in which epoch number `epoch` visits the images; another one for each `repetition`."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed + (repetition << 32), 2 * epoch + 1]))
        return torch.from_numpy(generator.permutation(len(self))).to(self.device)

    def _augmentation(self, number: int) -> Augmentation:
        return draw(self.section, self.seed, number, len(self), self.image_shape[1:])

    def _augmented(self, number: int, chosen: np.ndarray, pixels: np.ndarray) -> Tensor:
        """Images `chosen` (batch,) as they were read -> the same of view `number`, on the device."""
        drawn = self._drawn
        if drawn is None or drawn[0] != number:
            self._drawn = drawn = number, self._augmentation(number)
        return drawn[1].of(chosen).apply(torch.from_numpy(pixels).to(self.device))


def split_order(order: Tensor, batch_size: int, *, rest: bool = False) -> list[Tensor]:
    """The batches of `order`, all of `batch_size` unless there is but one; a short `rest` is left out or kept."""
    full = max(1, len(order) // batch_size)
    return list((order if rest else order[: full * batch_size]).split(batch_size))
