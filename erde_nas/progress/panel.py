"""Events on a terminal: one panel that stays below everything else that is printed."""

import time
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel as Frame
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from erde_nas.progress.board import MACS, Board, costs
from erde_nas.progress.clock import StageClock
from erde_nas.progress.event import Event
from erde_nas.progress.time_left import duration

MOST_PROFILES = 6  # with a row each
REFRESH_HZ = 2.0  # seldom, since latencies may be measured meanwhile


class Panel:
    """What is going on, how far it is, and what was found. Notes and failures are printed above it and stay."""

    def __init__(self, console: Console, board: Board, clock: StageClock) -> None:
        self._board, self._clock = board, clock
        self._doing = self._at = self._candidate = ""
        self._share, self._left, self._begin = 0.0, "", time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=REFRESH_HZ)

    def start(self) -> None:
        """Show it, and hide the cursor."""
        self._live.start()

    def stop(self) -> None:
        """Leave it as it is in the end, with the cursor below it."""
        self._live.stop()

    def hear(self, event: Event) -> None:
        """Take up what is new; print what has to last."""
        self._share, self._left = event.share, event.left
        candidate = event.candidate
        if event.kind in ("note", "teacher") or (candidate is not None and candidate.state == "failed"):
            self._live.console.print(event.text, highlight=False, markup=False, soft_wrap=True)
        if candidate is not None:
            self._candidate = event.text
        if event.kind in ("progress", "candidate"):
            self._doing = event.stage if candidate else event.text
            self._at = self._clock.stage

    def _render(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True, max_width=28)
        grid.add_column(no_wrap=True, ratio=1)
        for name, value in self._rows():
            grid.add_row(Text(name, style="bold"), value)
        return Frame(grid, title="erde-nas", title_align="left", border_style="dim")

    def _rows(self) -> Iterator[tuple[str, RenderableType]]:
        board, stage = self._board, self._clock.stage
        yield "stage", Text(self._doing if self._at == stage else stage)
        yield f"{self._share:4.0%} done", self._bar()
        if board.teacher is not None:
            yield "teacher", Text(f"{board.teacher:.1%} on validation")
        if board.done or board.failed:
            yield "candidates", Text(f"{board.done} done, {board.failed} failed")
        found = board.best
        for profile, best in list(found.items())[:MOST_PROFILES]:
            cost = costs(best)[profile]
            what = f"{cost / 1e6:.2f} M MACs" if profile == MACS else f"{cost:.3f} ms (estimated)"
            yield f"best, {profile}", Text(f"{best.val_accuracy:.1%} on validation, {what}: {best.student}")
        if (more := len(found) - MOST_PROFILES) > 0:
            yield "", Text(f"and {more} more profiles")
        if self._candidate:
            yield "last", Text(self._candidate)

    def _bar(self) -> RenderableType:
        times = Text("  ".join(filter(None, [duration(time.monotonic() - self._begin), self._left])))
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_row(ProgressBar(total=1.0, completed=self._share), times)
        return grid
