"""Events off a terminal: one line each, with its time, on the standard error."""

import sys
import time
from collections.abc import Callable

from erde_nas.progress.event import Event

LOG_EVERY_S = 10.0  # what only says how far the work is, at most so often


class Lines:
    """Prints events."""

    def __init__(self) -> None:
        self._printed = time.monotonic()
        self._last: tuple[str, ...] = ()

    def start(self) -> None:
        """Nothing needs to be made ready."""

    def hear(self, event: Event) -> None:
        """Print its line, unless it says nothing new; the command itself says how it ended."""
        now = time.monotonic()
        early = event.kind == "progress" and (now - self._printed < LOG_EVERY_S or event.text == event.stage)
        if early or event.kind == "end" or event.news == self._last:
            return
        self._printed, self._last = now, event.news
        left = f"; {event.left}" if event.left else ""
        stamp = f"{event.time.astimezone():%Y-%m-%d %H:%M:%S}"
        print(f"{stamp} [{event.share:4.0%}] {event.text}{left}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Every line is whole already."""


class Told:
    """Hands how much is done, and the text, to a function."""

    def __init__(self, tell: Callable[[float, str], object]) -> None:
        self._tell = tell

    def start(self) -> None:
        """Nothing needs to be made ready."""

    def hear(self, event: Event) -> None:
        """Tell; a function learns of the end because the call returns or raises."""
        if event.kind != "end":
            self._tell(event.share, event.text)

    def stop(self) -> None:
        """It has heard everything."""
