"""The best so far of each profile, against a plain loop."""

import random
import time

import pytest

from erde_nas.progress.board import Board
from erde_nas.progress.event import Candidate


def best(candidates: list[Candidate], profile: str, teacher: float | None) -> str:
    """Sorted by hand: the fastest of those within a point of the teacher, else the most accurate."""
    fit = [one for one in candidates if one.state == "complete"]
    close = [one for one in fit if teacher is not None and one.val_accuracy >= teacher - 0.01]
    if close:
        return sorted(close, key=lambda one: one.latency_ms[profile])[0].student
    return sorted(fit, key=lambda one: one.val_accuracy)[-1].student


@pytest.mark.parametrize("teacher", [None, 0.5, 0.9, 0.999])
def test_the_best_is_that_of_a_plain_loop(teacher: float | None) -> None:
    draw = random.Random(0)
    states = ["complete"] * 6 + ["failed", "over limits"]
    candidates = [
        Candidate(f"s{n}", draw.choice(states), draw.random(), draw.random(), {"a": draw.random(), "b": draw.random()})  # type: ignore[arg-type]
        for n in range(60)
    ]
    board = Board()
    board.teacher = teacher
    for one in candidates:
        board.add(one)
    assert {profile: found.student for profile, found in board.best.items()} == {
        profile: best(candidates, profile, teacher) for profile in ("a", "b")
    }
    failed = sum(one.state == "failed" for one in candidates)
    assert (board.done, board.failed) == (60 - failed, failed)


def test_without_a_latency_the_fewest_macs_are_best() -> None:
    board = Board()
    board.teacher = 0.9
    for one in (Candidate("a", "complete", 0.95, 3e6), Candidate("b", "complete", 0.92, 1e6)):
        board.add(one)
    assert board.best["MACs"].student == "b"


def test_ten_thousand_candidates_take_no_time() -> None:
    draw, board, begin = random.Random(0), Board(), time.process_time()
    for number in range(10_000):
        board.add(Candidate(f"s{number}", "complete", draw.randrange(1280) / 1280, 1.0, {"a": draw.random()}))
    assert time.process_time() - begin < 5
    assert board.done == 10_000
