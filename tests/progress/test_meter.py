"""Durations in words, the share of the plan that is done, log lines off a terminal and a bar on one."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from erde_nas.progress import meter as progress
from erde_nas.progress.meter import LOG_EVERY_S, Meter, duration


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
        assert meter.left() == "" if second < 3 else meter.left().endswith("s left")
        assert "about 0s" not in meter.left()
    meter.close("report")
    assert (meter.share, meter.left()) == (1.0, "")


def test_an_unplanned_stage_counts_nothing(clock: Callable[[float], None]) -> None:
    meter = quiet()
    clock(5)
    meter.add("teacher", 5, "epoch 1/2")
    assert meter.share == 0
    meter.close("teacher")
    assert meter.share == 0
    assert meter.left() == ""


def test_the_time_left_follows_from_how_far_off_the_plan_was(clock: Callable[[float], None]) -> None:
    meter = quiet()
    meter.plan({"search": 100})
    clock(50)  # twice as slow as planned
    meter.add("search", 25)
    assert meter.left() == f"about {duration(75 * (50 + 15) / (25 + 15))} left", "15 s are the plan's own weight"
    assert meter.left_s() == pytest.approx(75 * 65 / 40)


def test_no_time_left_before_anything_is_done(clock: Callable[[float], None]) -> None:
    meter = quiet()
    clock(100)
    assert meter.left() == ""
    meter.plan({"search": 100})
    clock(102)
    meter.add("search", 1)
    assert meter.left() == ""


def test_off_a_terminal_lines_go_to_stderr(capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]) -> None:
    with quiet() as meter:
        meter.plan({"search": 100})
        meter.say("[bold]one[/bold] candidate")
        clock(50)
        meter.add("search", 50)
        meter.say("half")
    assert capsys.readouterr() == ("", "[  0%] [bold]one[/bold] candidate\n[ 50%] half; about 50s left\n")


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
    assert [line.split("; ")[0] for line in lines] == [
        "[ 10%] search step 10",
        "[ 20%] search step 20",
        "[ 30%] search step 30",
    ]
    assert LOG_EVERY_S == 10


def test_on_a_terminal_a_bar_and_lasting_lines(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    screen = io.StringIO()
    with Meter(Console(force_terminal=True, file=screen, width=100)) as meter:
        meter.plan({"search": 100})
        clock(50)
        meter.add("search", 50, "student [3/6]")
        meter.say("a [bold]lasting[/bold] line")
    shown = screen.getvalue()
    assert "a [bold]lasting[/bold] line\n" in shown
    last = shown.rsplit("\r", 1)[1]  # what stands there in the end
    assert "search student [3/6]" in last
    assert "50%" in last
    assert "about 50s left" in last
    assert capsys.readouterr() == ("", "")


def test_what_looks_like_markup_in_the_bar_is_shown_as_it_is() -> None:
    screen = io.StringIO()
    with Meter(Console(force_terminal=True, file=screen, width=100)) as meter:
        meter.plan({"search": 1})
        meter.add("search", 1, "of [/oops] and [red]x")
    assert "of [/oops] and [red]x" in screen.getvalue()


def test_an_error_inside_passes_and_stops_the_bar() -> None:
    meter = Meter(Console(force_terminal=True, file=io.StringIO()))
    with pytest.raises(KeyboardInterrupt), meter:
        raise KeyboardInterrupt
    assert not meter._bar.live.is_started


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
