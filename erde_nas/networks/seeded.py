"""First weights from a seed: torch's layers draw them from its global generator, which nobody else should notice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this context new layers on the CPU start from `seed`; afterwards torch's generators are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
