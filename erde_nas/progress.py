"""Progress of long work: a bar with the time left on a terminal, plain log lines elsewhere.

Work is planned in estimated seconds. The time left is the planned rest times how far off the plan has been so far.
"""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

LOG_EVERY_S = 10.0


class Meter:
    """Use as a context manager; `plan` the stages, then `add` to them."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.live = self.console.is_terminal
        self._planned: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._begin = self._logged = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.live,
        )
        self._task = self._bar.add_task("", total=1.0, left="")

    def __enter__(self) -> "Meter":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def plan(self, seconds: Mapping[str, float]) -> None:
        """Estimated seconds of stages still to be done; replaces the estimate of a stage planned before."""
        self._planned.update(seconds)

    def add(self, stage: str, seconds: float, text: str = "") -> None:
        """So many of the planned seconds of `stage` are done; `text` says what is going on."""
        planned = self._planned.get(stage, 0.0)
        self._done[stage] = min(planned, self._done.get(stage, 0.0) + seconds)
        line = f"{stage} {text}".strip()
        self._bar.update(self._task, completed=self.share, description=line, left=self.left())
        now = time.monotonic()
        if not self.live and text and now - self._logged >= LOG_EVERY_S:
            self.say(line)

    def close(self, stage: str) -> None:
        """Nothing is left to do in `stage`, whatever was planned."""
        self._planned[stage] = self._done.get(stage, 0.0)

    def say(self, text: str) -> None:
        """One lasting line."""
        self._logged = time.monotonic()
        if self.live:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            left = self.left()
            print(f"[{self.share:4.0%}] {text}{'; ' + left if left else ''}", file=sys.stderr, flush=True)

    @property
    def share(self) -> float:
        """How much of the planned work is done, 0..1."""
        total = sum(self._planned.values())
        done = sum(min(self._done.get(stage, 0.0), planned) for stage, planned in self._planned.items())
        return done / total if total else 0.0

    def left(self) -> str:
        """The time left in words; empty where it cannot be told yet."""
        share, elapsed = self.share, time.monotonic() - self._begin
        if share < 0.02 or share > 0.995 or elapsed < 3:
            return ""
        return f"about {duration(elapsed * (1 - share) / share)} left"


def duration(seconds: float) -> str:
    """Seconds in words: 45s, 3m10s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
