"""Durations in words, the share of the plan that is done, lines off a terminal, and a function that hears."""

import io
from collections.abc import Callable
from datetime import datetime

import pytest
from rich.console import Console

from erde_nas.progress import meter as progress
from erde_nas.progress.event import Candidate
from erde_nas.progress.lines import LOG_EVERY_S
from erde_nas.progress.meter import Meter
from erde_nas.progress.time_left import duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets what the meter takes for the time; it begins at 0."""
    now = {"s": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: now["s"])
    return lambda seconds: now.update(s=seconds)


def quiet() -> Meter:
    """A meter off a terminal."""
    return Meter(Console(file=io.StringIO()))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (45, "45s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (190, "3m10s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (100 * 3600, "100h00m"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_share_is_that_of_the_time(clock: Callable[[float], None]) -> None:
    meter = quiet()
    assert meter.share == 0
    meter.plan({"teacher": 10, "search": 30})
    clock(10)
    meter.add("teacher", 10)
    meter.close("teacher")
    assert meter.share == pytest.approx(10 / 40)
    clock(25)
    meter.add("search", 15, "3/6")
    assert meter.share == pytest.approx(25 / 40)
    meter.plan({"measure": 20})
    assert meter.share == pytest.approx(25 / 60)
    meter.plan({"search": 20})  # planned anew
    assert meter.share == pytest.approx(25 / 50)
    meter.close("measure")
    assert meter.share == pytest.approx(25 / 30)
    meter.close("search")
    assert meter.share == 1


def test_it_is_not_done_before_everything_is(clock: Callable[[float], None]) -> None:
    """However far beyond its plan a stage is."""
    meter = quiet()
    meter.plan({"search": 10, "report": 0.01})
    meter.close("search")
    for second in range(1, 1000, 50):
        clock(float(second))
        meter.add("report", 1.0)
        assert meter.share <= 0.99
        left = meter.told_left_s()
        assert left is None if second < 3 else left is not None and left >= 1
    meter.close("report")
    assert (meter.share, meter.told_left_s()) == (1.0, None)


def test_an_unplanned_stage_counts_nothing(clock: Callable[[float], None]) -> None:
    meter = quiet()
    clock(5)
    meter.add("teacher", 5, "epoch 1/2")
    assert meter.share == 0
    meter.close("teacher")
    assert meter.share == 0
    assert meter.told_left_s() is None


def test_the_time_left_follows_from_how_far_off_the_plan_was(clock: Callable[[float], None]) -> None:
    meter = quiet()
    meter.plan({"search": 100})
    clock(50)  # twice as slow as planned
    meter.add("search", 25)
    assert meter.left_s() == pytest.approx(75 * 65 / 40), "15 s are the plan's own weight"
    assert meter.told_left_s() == meter.left_s()


def test_no_time_left_before_anything_is_done(clock: Callable[[float], None]) -> None:
    meter = quiet()
    clock(100)
    assert meter.told_left_s() is None
    meter.plan({"search": 100})
    clock(102)
    meter.add("search", 1)
    assert meter.told_left_s() is None


def test_off_a_terminal_lines_go_to_stderr(capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]) -> None:
    before = datetime.now().replace(microsecond=0)
    with quiet() as meter:
        meter.plan({"search": 100})
        meter.say("[bold]one[/bold] candidate")
        clock(50)
        meter.add("search", 50)
        meter.say("half")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line[20:] for line in lines] == ["[  0%] [bold]one[/bold] candidate", "[ 50%] half; about 50s left"]
    for line in lines:
        assert before <= datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S") <= datetime.now()


def test_off_a_terminal_progress_is_logged_now_and_then(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    meter = quiet()
    meter.plan({"search": 100})
    for second in range(2, 38, 2):
        clock(float(second))
        meter.add("search", 2, f"step {second}")
        meter.add("search", 0)  # nothing to say
    lines = capsys.readouterr().err.splitlines()
    assert [line[20:].split("; ")[0] for line in lines] == [
        "[ 10%] search step 10",
        "[ 20%] search step 20",
        "[ 30%] search step 30",
    ]
    assert LOG_EVERY_S == 10


def test_nothing_is_said_twice(capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]) -> None:
    meter = quiet()
    meter.plan({"search": 10_000})
    for number in range(4):
        meter.say("data: digits")
        clock(20.0 * (number + 1))
        meter.candidate(Candidate(f"s{number}", "failed"), 20, f"{number}/4: s{number} failed")
    for second in (100, 111, 122):  # so late that each would have its line
        clock(second)
        meter.add("search", 0, "waits")
    texts = [line.split("] ")[1].split("; ")[0] for line in capsys.readouterr().err.splitlines()]
    assert texts == ["data: digits", *(f"search {number}/4: s{number} failed" for number in range(4)), "search waits"]


def test_a_function_hears_instead(capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]) -> None:
    heard: list[tuple[float, str]] = []
    with Meter(tell=lambda *told: heard.append(told)) as meter:
        meter.plan({"train": 4.0})
        meter.say("plan: 4 s")
        clock(1.0)
        meter.add("train", 1.0, "epoch 1/4")
        clock(3.0)
        meter.add("train", 3.0, "epoch 4/4")
        meter.close("train")
        meter.say("done")
    assert [text for _, text in heard] == ["plan: 4 s", "train epoch 1/4", "train epoch 4/4", "done"]
    assert [share for share, _ in heard] == pytest.approx([0.0, 1 / 4, 4 / 4.2, 1.0]), (
        "a stage may go on for a twentieth of its time"
    )
    assert capsys.readouterr() == ("", "")
