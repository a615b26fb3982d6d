"""The time left, against a run whose true course is known: a script of what every step takes on a simulated clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from erde_nas.progress.time_left import TimeLeft


@dataclass(frozen=True)
class Stage:
    """`steps` of equal size, planned to take `planned` seconds in all, and what each really takes."""

    planned: float
    steps: int
    step_s: float


# What one run of the quickstart took by stage, and what its plan said; steps as the meter hears of them.
QUICKSTART = {
    "teacher": Stage(30, 10, 3.0),
    "search": Stage(80, 24, 3.4),
    "finish": Stage(20, 72, 0.3),
    "prune": Stage(10, 32, 0.35),
    "slim": Stage(8, 2, 5.0),
    "export": Stage(20, 23, 1.0),
    "measure": Stage(60, 7, 8.0),
    "allowance": Stage(60, 7, 8.57),
    "report": Stage(3, 1, 2.0),
}


def scaled(stages: Mapping[str, Stage], factor: float, *names: str) -> dict[str, Stage]:
    """The steps of the named stages, or of all, take `factor` times as long; the allowance stays what it is."""
    return {
        name: stage
        if name == "allowance" or (names and name not in names)
        else Stage(stage.planned, stage.steps, stage.step_s * factor)
        for name, stage in stages.items()
    }


def course(stages: Mapping[str, Stage], every_s: float = 0.5) -> Iterator[tuple[float, float, float]]:
    """Time, estimated time left, true time left, looked at every half second, also within a step."""
    left, now, begin = TimeLeft(0.0), 0.0, 4.0
    left.plan({name: stage.planned for name, stage in stages.items()}, begin, fixed=["allowance"])
    now, end = begin, begin + sum(stage.steps * stage.step_s for stage in stages.values())
    for name, stage in stages.items():
        for _ in range(stage.steps):
            done = now + stage.step_s
            while now + every_s < done:
                now += every_s
                yield now, left.seconds(now), end - now
            now = done
            left.add(name, stage.planned / stage.steps, now)
            yield now, left.seconds(now), end - now
        left.close(name, now)
    assert not left.open
    assert left.seconds(now) == 0
    assert left.worked == pytest.approx(end - begin)


SCRIPTS = {
    "as planned": QUICKSTART,
    "everything takes twice as long": scaled(QUICKSTART, 2.0),
    "everything takes half as long": scaled(QUICKSTART, 0.5),
    "the search takes twice as long": scaled(QUICKSTART, 1.6, "search"),
    "measuring takes twice as long": scaled(QUICKSTART, 1.6, "measure", "export", "slim"),
    "hours of training": scaled(QUICKSTART, 1.4, "teacher", "search", "finish"),
    "a large teacher": {**QUICKSTART, "teacher": Stage(1000, 20, 65.0)},
}


@pytest.mark.parametrize("stages", SCRIPTS.values(), ids=SCRIPTS)
def test_the_time_left_is_right_within_a_factor_from_the_first_minute(stages: Mapping[str, Stage]) -> None:
    """Of 1.5; in the last seconds, where a factor means nothing, within six."""
    seen = [(now, said, true) for now, said, true in course(stages) if now >= 60]
    assert len(seen) > 100
    wrong = [(now, said, true) for now, said, true in seen if not (true / 1.5 - 6 <= said <= true * 1.5 + 6)]
    assert not wrong, wrong[:5]


def test_it_never_says_that_nothing_is_left_while_something_is() -> None:
    for stages in SCRIPTS.values():
        assert all(said > 0 for _, said, true in course(stages) if true > 0.01)


def test_a_stage_that_takes_longer_than_planned_goes_on() -> None:
    left = TimeLeft(0.0)
    left.plan({"measure": 10.0}, 0.0)
    for second in range(1, 101):
        left.add("measure", 1.0, float(second))
    assert left.seconds(100.0) >= 5
    assert left.open
    left.close("measure", 100.0)
    assert left.seconds(100.0) == 0


def test_hours_bound_a_stage() -> None:
    left = TimeLeft(0.0)
    left.plan({"search": 1000.0, "report": 4.0}, 0.0)
    left.add("search", 100.0, 100.0)
    assert left.seconds(100.0) == pytest.approx(904.0)
    left.bound("search", 130.0)
    assert left.seconds(100.0) == pytest.approx(34.0)
    assert left.seconds(131.0) == pytest.approx(4.0)


def test_what_is_not_planned_is_not_waited_for() -> None:
    left = TimeLeft(0.0)
    left.add("reference", 0.0, 5.0)
    assert (left.open, left.worked, left.seconds(5.0)) == (False, 0.0, 0.0)
