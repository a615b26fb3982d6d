"""Progress of long work: a bar with the time left on a terminal, plain log lines elsewhere.

Work is planned in estimated seconds, stage by stage; time_left.py makes of it what is left.
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from erde_nas.progress import interrupt
from erde_nas.progress.clock import StageClock
from erde_nas.progress.time_left import TimeLeft

LOG_EVERY_S = 10.0
LEAST_WORK_S = 3.0  # before a time left is shown
NEARLY = 0.99  # shown at most while something is left to do


class Meter:
    """Use as a context manager; `plan` the stages, `add` to them, and `close` each. `clock` began with the meter.

    `tell` hears how much is done, 0..1, and what is going on; nothing is printed then.
    """

    def __init__(self, console: Console | None = None, tell: Callable[[float, str], object] | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.live = tell is None and self.console.is_terminal
        self._tell = tell
        self.clock = StageClock()
        self._logged = time.monotonic()
        self._time = TimeLeft(self._logged)
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

    def plan(self, seconds: Mapping[str, float], fixed: Collection[str] = ()) -> None:
        """Estimated seconds of stages still to be done; replaces the estimate of a stage planned before.

        The `fixed` ones take what is planned, however slow the machine turns out to be.
        """
        self._time.plan(seconds, time.monotonic(), fixed)

    def add(self, stage: str, seconds: float, text: str = "") -> None:
        """So many of the planned seconds of `stage` are done; `text` says what is going on."""
        interrupt.check()
        now = time.monotonic()
        self._time.add(stage, seconds, now)
        line = f"{stage} {text}".strip()
        self._show(description=line)
        if self._tell is not None:
            self._tell(self.share, line)
        elif not self.live and text and now - self._logged >= LOG_EVERY_S:
            self.say(line)

    def within(self, stage: str, seconds: float) -> None:
        """`stage` is over in so many seconds, whatever was planned."""
        self._time.bound(stage, time.monotonic() + seconds)

    def close(self, stage: str) -> None:
        """Nothing is left to do in `stage`, whatever was planned."""
        self._time.close(stage, time.monotonic())
        self._show()

    def _show(self, **changed: str) -> None:
        self._bar.update(self._task, completed=self.share, left=self.left(), **changed)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        """One lasting line."""
        self._logged = time.monotonic()
        if self._tell is not None:
            self._tell(self.share, text)
        elif self.live:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            left = self.left()
            print(f"[{self.share:4.0%}] {text}{'; ' + left if left else ''}", file=sys.stderr, flush=True)

    @property
    def share(self) -> float:
        """How much of the work is done, 0..1, by the time that it takes; 1 where every stage is closed."""
        worked, left = self._time.worked, self._time.seconds(time.monotonic())
        if not worked:
            return 0.0
        return min(NEARLY, worked / (worked + left)) if self._time.open else 1.0

    def left_s(self) -> float:
        """Estimated seconds until everything planned is done."""
        return self._time.seconds(time.monotonic())

    def left_by_stage(self) -> dict[str, float]:
        """The same by stage."""
        return self._time.by_stage(time.monotonic())

    def left(self) -> str:
        """The time left in words; empty where it cannot be told yet, and where nothing is left."""
        if not self._time.open or self._time.worked < LEAST_WORK_S:
            return ""
        return f"about {duration(max(1.0, self.left_s()))} left"


def duration(seconds: float) -> str:
    """Seconds in words: 45s, 3m10s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
