"""Batches of images that stay on the disk, read ahead by the worker processes of torch's DataLoader."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from erde_nas.data.dataset import Split
from erde_nas.data.on_disk import read_pixels
from erde_nas.device.machine import usable_cores
from erde_nas.errors import UserError

MOST_WORKERS = 8
AHEAD = 2  # batches that each worker reads ahead


class _Batches(Dataset[np.ndarray | UserError]):
    """One item is a whole batch: the indices chosen -> pixels (batch, channels, h, w), or why they cannot be read.

    The error is handed over rather than raised: DataLoader would bury its message in a worker's traceback.
    """

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray | UserError:
        try:
            return read_pixels(self.split, chosen, threads=1)
        except UserError as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch  # arrays travel through a pipe; tensors would need shared memory, of which containers have little


def read_ahead(split: Split, batches: Sequence[np.ndarray], workers: int | None = None) -> Iterator[np.ndarray]:
    """The pixels (batch, channels, h, w) uint8 of each of `batches`, in order.

    `workers` processes read; without a number all cores but one, 8 at most. torch's global random state is left
    alone. Raises UserError for a file that cannot be read.
    """
    if workers is None:
        workers = min(MOST_WORKERS, max(1, len(usable_cores()) - 1))
    workers = min(workers, len(batches))
    loader: DataLoader[np.ndarray | UserError] = DataLoader(
        _Batches(split),
        sampler=batches,
        batch_size=None,  # an item is a batch
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else its seed would be drawn from the generator that dropout uses
    )
    for pixels in loader:
        if isinstance(pixels, UserError):
            raise pixels
        yield pixels
