"""Progress of long work: a panel with the time left on a terminal, plain lines elsewhere, and a log for programs.

Work is planned in estimated seconds, stage by stage; time_left.py makes of it what is left.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rich.console import Console

from erde_nas.errors import UserError
from erde_nas.progress import interrupt
from erde_nas.progress.board import Board
from erde_nas.progress.clock import StageClock
from erde_nas.progress.event import Candidate, Event, View
from erde_nas.progress.json_log import JsonLog
from erde_nas.progress.lines import Lines, Told
from erde_nas.progress.panel import Panel
from erde_nas.progress.time_left import TimeLeft

LEAST_WORK_S = 3.0  # before a time left is shown
NEARLY = 0.99  # shown at most while something is left to do


class Meter:
    """Use as a context manager; `plan` the stages, `add` to them, and `close` each. `clock` began with the meter.

    `tell` hears how much is done, 0..1, and what is going on; nothing is printed then. Every event goes to the file
    `json_log` as well.
    """

    def __init__(
        self,
        console: Console | None = None,
        tell: Callable[[float, str], object] | None = None,
        json_log: Path | None = None,
    ) -> None:
        console = console or Console(stderr=True)
        self.clock, self._board, self._said = StageClock(), Board(), set[str]()
        self._time = TimeLeft(time.monotonic())
        shown: View = Panel(console, self._board, self.clock) if console.is_interactive else Lines()
        self._views: list[View] = [shown if tell is None else Told(tell)]
        if json_log is not None:
            self._views.insert(0, JsonLog(json_log))  # first: where it cannot be written, nothing else begins

    def __enter__(self) -> "Meter":
        for view in self._views:
            view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if value is None:
                self._tell("end", "", state="done")
            elif isinstance(value, KeyboardInterrupt):
                self._tell("end", "", state="interrupted")
            else:
                self._tell("end", str(value) if isinstance(value, UserError) else repr(value), state="failed")
        finally:
            for view in reversed(self._views):
                view.stop()

    def plan(self, seconds: Mapping[str, float], fixed: Collection[str] = ()) -> None:
        """Estimated seconds of stages still to be done; replaces the estimate of a stage planned before.

        The `fixed` ones take what is planned, however slow the machine turns out to be.
        """
        self._time.plan(seconds, time.monotonic(), fixed)

    def add(self, stage: str, seconds: float, text: str = "") -> None:
        """So many of the planned seconds of `stage` are done; `text` says what is going on."""
        interrupt.check()
        self._time.add(stage, seconds, time.monotonic())
        self._tell("progress", f"{stage} {text}".strip(), stage)

    def candidate(self, candidate: Candidate, seconds: float, text: str) -> None:
        """The search is done with a candidate, and with so many of its planned seconds."""
        interrupt.check()
        self._time.add("search", seconds, time.monotonic())
        self._tell("candidate", f"search {text}", "search", candidate=candidate)

    def recall(self, candidate: Candidate) -> None:
        """Count a candidate that a former start of the run evaluated."""
        self._board.add(candidate)

    def teacher(self, val_accuracy: float) -> None:
        """The teacher's accuracy on validation, 0..1, is known."""
        self._tell(
            "teacher", f"teacher: right on {val_accuracy:.1%} of the validation images", val_accuracy=val_accuracy
        )

    def within(self, stage: str, seconds: float) -> None:
        """`stage` is over in so many seconds, whatever was planned."""
        self._time.bound(stage, time.monotonic() + seconds)

    def close(self, stage: str) -> None:
        """Nothing is left to do in `stage`, whatever was planned."""
        self._time.close(stage, time.monotonic())

    def say(self, text: str) -> None:
        """One lasting line; what was said already is not said again."""
        if text not in self._said:
            self._said.add(text)
            self._tell("note", text)

    def _tell(
        self, kind: Literal["note", "progress", "teacher", "candidate", "end"], text: str, stage: str = "", **more: Any
    ) -> None:
        now = datetime.now(timezone.utc)
        event = Event(now, kind, stage or self.clock.stage, self.share, self.told_left_s(), text, **more)
        self._board.hear(event)
        for view in self._views:
            view.hear(event)

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

    def told_left_s(self) -> float | None:
        """The same as users are told it: None where it cannot be told yet, and where nothing is left."""
        return max(1.0, self.left_s()) if self._time.open and self._time.worked >= LEAST_WORK_S else None

    def left_by_stage(self) -> dict[str, float]:
        """The same by stage."""
        return self._time.by_stage(time.monotonic())
