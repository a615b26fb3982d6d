"""What a frozen network holds at the places of its exits, condensed, computed once and kept in memory in fp16."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.device.machine import usable_cores
from erde_nas.distil.teachers.teacher_pass import whole_fp32
from erde_nas.networks.attached import Condense, Place

BATCH_PIXELS = 128 * 64 * 64  # of images at once in one thread
Made = TypeVar("Made")


class Backbone(nn.Module):
    """The network up to its logits: `pieces` between the `places`, one more than those."""

    def __init__(self, places: Sequence[Place], pieces: Sequence[nn.Module], prepare: nn.Module, last: nn.Module):
        super().__init__()
        self.places, self.prepare, self.last = tuple(places), prepare, last
        self.pieces = nn.ModuleList(pieces)
        self.condense = nn.ModuleList(map(Condense, places))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """(batch, channels, h, w), pixels 0..255 -> what heads see at each place, and the logits (batch, classes)."""
        x, seen = self.prepare(images), []
        for number, piece in enumerate(self.pieces):
            x = piece(x)
            if number < len(self.condense):
                seen.append(self.condense[number](x))
        return seen, self.last(x)

    @property
    def sample_bytes(self) -> int:
        """Of what is kept of one image, in fp16."""
        return sum(2 * channels * side**2 for channels, side in (place.condensed for place in self.places))


@dataclass(frozen=True)
class Features:
    """By place (views, images, channels, side, side) fp16; the network's own logits (views, images, classes) and the
    labels (images,) of the images."""

    seen: tuple[Tensor, ...]
    logits: Tensor
    labels: Tensor


def keep_features(
    backbone: Backbone, views: Views, chosen: Tensor, count: int, progress: Callable[[int], None] = lambda images: None
) -> Features:
    """Of the images `chosen` (n,) in the first `count` views; `progress` hears how many more are done."""
    kept: list[list[Tensor]] = [[] for _ in (*backbone.places, "logits")]
    for number in range(count):
        batches = (images for _, images in views.batches(number, chosen, batch_of(views.image_shape), rest=True))
        for seen, logits in spread_over_cores(backbone, batches):
            for place, found in enumerate(seen):
                kept[place].append(found.half().cpu())
            kept[-1].append(logits.float().cpu())
            progress(len(logits))
    *seen, logits = (torch.cat(parts).unflatten(0, (count, -1)) for parts in kept)
    return Features(tuple(seen), logits, views.labels[chosen].cpu())


def batch_of(image_shape: Sequence[int]) -> int:
    """How many images go through the network at once."""
    return max(1, min(128, BATCH_PIXELS // (image_shape[-1] * image_shape[-2])))


def spread_over_cores(work: Callable[[Tensor], Made], batches: Iterable[Tensor]) -> Iterator[Made]:
    """`work` on every batch, in order. On a CPU every core takes a batch of its own, as in `TeacherPass`."""
    waiting, threads, workers = iter(batches), torch.get_num_threads(), len(usable_cores())

    def one(images: Tensor) -> Made:
        with torch.no_grad(), whole_fp32(images.device):
            return work(images)

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            while group := list(islice(waiting, workers)):
                yield from pool.map(one, group)
        finally:
            torch.set_num_threads(threads)
