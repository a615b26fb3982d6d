"""Times in blocks that alternate with blocks of a reference model; every block is given as a ratio to its neighbouring
reference blocks: what slows the machine down slows both. Interrupted calls are made again (see `stopwatch`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from erde_nas.device.agent.stopwatch import Stopwatch

STREAM_BLOCK = 32  # calls of a stream between two reference blocks
REWARM = 2  # calls without the clock after a reference block


class Clock:
    """Times calls and, between them, the reference model. `between` is called after every reference block."""

    def __init__(
        self,
        reference: Callable[[], Any],
        calls_per_block: int,
        watch: Stopwatch,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.reference, self.calls, self.watch, self.between = reference, calls_per_block, watch, between
        self.reference_ms: list[float] = []

    def block(self, call: Callable[[], Any], calls: int) -> list[float]:
        """Milliseconds of each of `calls` calls."""
        return [self.watch.time(call)[0] for _ in range(calls)]

    def reference_block(self) -> float:
        """The median of one block of the reference model, in milliseconds."""
        median = float(np.median(self.block(self.reference, self.calls)))
        self.reference_ms.append(median)
        self.between()
        return median


def time_exit(clock: Clock, call: Callable[[], Any], blocks: int) -> list[float]:
    """Median of each block relative to the mean of the reference blocks before and after it."""
    ratios, before = [], clock.reference_block()
    for _ in range(blocks):
        median = float(np.median(clock.block(call, clock.calls)))
        after = clock.reference_block()
        ratios.append(median / ((before + after) / 2))
        before = after
    return ratios


def time_stream(clock: Clock, calls: Sequence[Callable[[], Any]]) -> tuple[list[float], list[int]]:
    """Each call once, in order: its time relative to the neighbouring reference blocks, and the exits it gave.

    After a reference block the next call is made without the clock first: the reference has taken its caches.
    """
    ratios: list[float] = []
    exits: list[int] = []
    before = clock.reference_block()
    for start in range(0, len(calls), STREAM_BLOCK):
        times = []
        for _ in range(REWARM):
            calls[start]()
        for call in calls[start : start + STREAM_BLOCK]:
            taken, (_, exit_index) = clock.watch.time(call)
            times.append(taken)
            exits.extend(int(e) for e in exit_index)
        after = clock.reference_block()
        ratios.extend(t / ((before + after) / 2) for t in times)
        before = after
    return ratios, exits
