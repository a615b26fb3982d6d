"""On a terminal: one panel below lasting lines, what it shows in the end, and a clean terminal however it ends."""

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from erde_nas.errors import UserError
from erde_nas.progress import meter as progress
from erde_nas.progress.event import Candidate
from erde_nas.progress.meter import Meter

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = {"s": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: now["s"])
    return lambda seconds: now.update(s=seconds)


def terminal(width: int = 100) -> tuple[Meter, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, force_interactive=True, width=width, color_system=None)
    return Meter(console), screen


def plain(screen: io.StringIO) -> str:
    """All that was printed, one state of the panel after the other."""
    return re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n")


def last_panel(screen: io.StringIO) -> str:
    """What stands there in the end."""
    return plain(screen).rpartition("╭")[2]


def test_it_shows_stage_candidates_best_teacher_and_time(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    meter, screen = terminal()
    with meter:
        meter.plan({"search": 100})
        meter.say("data: [bold]digits[/bold], 10 classes")
        meter.teacher(0.9)
        clock(50)
        meter.candidate(Candidate("aa", "complete", 0.895, 2e6, {"cpu": 0.5}), 25, "1/4: aa 89.5%")
        meter.candidate(Candidate("bb", "failed"), 25, "2/4: bb failed: exit 0 is dead")
        clock(51)
        meter.add("search", 0, "cc [3/4]")
        meter.say("half")
    text = plain(screen)
    for lasting in ("data: [bold]digits[/bold], 10 classes", "search 2/4: bb failed: exit 0 is dead", "half"):
        assert len(re.findall(rf"^\s*{re.escape(lasting)}\s*$", text, re.MULTILINE)) == 1, lasting
    assert not re.search(r"^\s*search 1/4", text, re.MULTILINE), "the panel alone says what went well"
    panel = last_panel(screen)
    for row in (
        r"stage +search cc \[3/4\]",
        r"teacher +90\.0% on validation",
        r"candidates +1 done, 1 failed",
        r"best, cpu +89\.5% on validation, 0\.500 ms \(estimated\): aa",
        r"last +search 2/4: bb failed",
        r"\d\d% done +[━╸]+ +51s +about \d+s left",
    ):
        assert re.search(row, panel), (row, panel)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("width", [30, 60, 200])
def test_every_line_fits(width: int) -> None:
    meter, screen = terminal(width)
    with meter:
        meter.plan({"search": 1})
        values = {f"a-profile-with-a-long-name-{number}": 1.0 for number in range(9)}
        meter.candidate(Candidate("aa", "complete", 0.9, 1.0, values), 1, f"1/1: {'long ' * 60}")
        meter.add("search", 0, "of [/oops] and [red]x")
    lines = last_panel(screen).splitlines()
    assert {len(line) for line in lines[1:] if line} == {width}
    assert len(lines) < 20
    if width == 200:
        assert "and 3 more profiles" in last_panel(screen)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no"), RuntimeError("bug")])
def test_the_terminal_is_left_clean(error: BaseException) -> None:
    meter, screen = terminal()
    with pytest.raises(type(error)), meter:
        raise error
    shown = screen.getvalue()
    assert shown.count(HIDE) == shown.count(SHOW) == 1
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert re.search(r"╯\s*\n", shown), "what comes next begins in a line of its own"
    assert "erde-nas" in last_panel(screen)
