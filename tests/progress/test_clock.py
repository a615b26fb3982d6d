"""Every second of a clock belongs to exactly one stage."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from erde_nas.progress.clock import START, StageClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass."""
    now = {"s": 100.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["s"])
    return lambda seconds: now.update(s=now["s"] + seconds)


def test_stages_add_up_to_the_whole_and_the_innermost_counts(clock: Callable[[float], None]) -> None:
    stages = StageClock()
    clock(3)  # libraries
    with stages.at("prune"):
        clock(2)
        with stages.at("slim"):
            clock(5)
        clock(1)
        with suppress(KeyboardInterrupt), stages.at("prune"):
            clock(4)
            raise KeyboardInterrupt
    clock(0.5)
    with stages.at("report"):
        clock(7)
        assert stages.seconds() == {START: 3.5, "prune": 7.0, "slim": 5.0, "report": 7.0}
        assert sum(stages.seconds().values()) == 22.5
