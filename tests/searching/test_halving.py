"""Rungs by hand: students halve, epochs double, and nothing is trained longer than the recipe says."""

import pytest

from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.recipe import FinishSection
from erde_nas.searching.halving import rungs


def ladder(students: int, epochs: int, count: int) -> list[tuple[int, int]]:
    section = FinishSection(students=students, rungs=count, train=OptimizerSection(epochs=epochs))
    assert [rung.number for rung in rungs(section)] == list(range(len(rungs(section))))
    return [(rung.students, rung.epochs) for rung in rungs(section)]


def test_rungs_by_hand() -> None:
    assert ladder(4, 12, 2) == [(8, 6), (4, 6)]
    assert ladder(2, 12, 3) == [(8, 3), (4, 3), (2, 6)]
    assert ladder(3, 5, 1) == [(3, 5)]
    assert ladder(1, 5, 2) == [(2, 2), (1, 3)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("epochs", range(1, 40))
def test_every_student_of_the_last_rung_had_all_epochs(epochs: int, count: int) -> None:
    found = ladder(3, epochs, count)
    assert sum(further for _, further in found) == epochs
    assert all(further >= 1 for _, further in found), "a rung that trains nothing tells nothing"
    assert [students for students, _ in found] == [3 * 2**left for left in reversed(range(len(found)))]
    assert len(found) == min(count, epochs.bit_length())
