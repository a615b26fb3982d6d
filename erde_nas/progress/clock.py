"""Where the time goes: every second since a clock was made belongs to exactly one stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

START = "start"  # outside of all stages: loading libraries and images, and checks


class StageClock:
    """Seconds by stage. Inside several stages the innermost one counts."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._inside = [START]
        self._since = time.monotonic()

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The time spent inside is that of `stage`, also where it ends with an error."""
        self._count()
        self._inside.append(stage)
        try:
            yield
        finally:
            self._count()
            self._inside.pop()

    @property
    def stage(self) -> str:
        """Where the time goes now."""
        return self._inside[-1]

    def seconds(self) -> dict[str, float]:
        """What every stage has taken so far, in the order in which they were first entered."""
        self._count()
        return dict(self._seconds)

    def _count(self) -> None:
        now, stage = time.monotonic(), self._inside[-1]
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now
