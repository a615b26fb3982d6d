"""Times calls, and those again that something else interrupted: another process on the core, or the hypervisor.

One thread on a CPU is interrupted where more time passes than CPU time (CLOCK_PROCESS_CPUTIME_ID, which counts a
runtime's own threads, too). Several threads, or an accelerator, wait for each other, so there the system's count of
involuntary context switches tells (getrusage(2)). Where the system has neither, no call counts as interrupted.
"""

import time
from collections.abc import Callable
from typing import Any

ATTEMPTS = 3  # to time a call without interruption
LONG_NS = 5_000_000  # of CPU time: such a call is interrupted each time, and what it lost of the caches is little of it
TOLERANCE = 0.02  # of the time that may pass without the CPU,
TOLERANCE_NS = 2000  # beyond what reading two clocks one after the other takes


class Stopwatch:
    """`alone`: the calls run on one thread of a CPU. `calls` counts attempts, `interrupted` those that were.

    `now` gives nanoseconds; `read` nanoseconds of CPU time, or the number of involuntary switches unless `alone`.
    """

    def __init__(
        self, alone: bool, now: Callable[[], int] = time.perf_counter_ns, read: Callable[[], int] | None = None
    ) -> None:
        self.calls = self.interrupted = 0
        self._alone, self._now, self._read = alone, now, read or _reader(alone)
        self._last = (now(), self._read())

    def time(self, call: Callable[[], Any]) -> tuple[float, Any]:
        """Milliseconds of the call, and its answer.

        What was interrupted, or follows upon an interruption, has lost its caches: it is called once without the clock
        and then timed again. Where every attempt is interrupted: the least CPU time, or time of several threads.
        """
        least = float("inf")
        for attempt in range(ATTEMPTS):
            if attempt:
                call()
            before = self._read()
            begin = self._now()
            answer = call()
            end = self._now()
            now = self._read()
            self.calls += 1
            if not self._was_interrupted(end, now):
                return (end - begin) / 1e6, answer
            self.interrupted += 1
            least = min(least, now - before if self._alone else end - begin)
            if self._alone and least > LONG_NS:
                break
        return least / 1e6, answer

    def _was_interrupted(self, end: int, now: int) -> bool:
        """Since the last time that this was asked."""
        passed, used = end - self._last[0], now - self._last[1]
        self._last = (end, now)
        return passed - used > TOLERANCE * passed + TOLERANCE_NS if self._alone else used > 0


def _reader(alone: bool) -> Callable[[], int]:
    """What tells of interruptions on this system."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows, whose CPU time has steps of 16 ms
        return time.perf_counter_ns if alone else lambda: 0
    return time.process_time_ns if alone else lambda: getrusage(RUSAGE_SELF).ru_nivcsw
