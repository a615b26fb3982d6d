"""Which candidates come back when a device was lost, and when."""

import pytest

from erde_nas.errors import DeviceLost
from erde_nas.searching.retry import LOST_IN_A_ROW, Postponed
from erde_nas.space.trial import Proposal, Trial


def trial(name: str) -> Trial:
    return Trial(0, name, {"name": name}, "failed", attrs={"generation": 1}, reason=f"{name} is lost")


def test_a_candidate_comes_back_once_and_first_when_the_device_is_back():
    postponed = Postponed(at_once=1)
    assert postponed.postpones(trial("a"), lost=True)
    assert postponed.retries(1, nothing_else=False) == [], "another candidate tries first"
    assert not postponed.postpones(trial("b"), lost=False)
    again = (Proposal({"name": "a"}, {"generation": 1}), "a")
    assert postponed.retries(0, nothing_else=False) == []
    assert postponed.retries(1, nothing_else=False) == [again]
    assert postponed.retries(1, nothing_else=True) == []
    assert not postponed.postpones(trial("a"), lost=True), "now it has failed"
    assert postponed.retries(1, nothing_else=True) == []


def test_trouble_of_its_own_brings_a_candidate_back_once_and_ends_nothing():
    postponed = Postponed(at_once=1)
    for number in range(3 * LOST_IN_A_ROW):
        assert postponed.postpones(trial(str(number)), lost=False, again=True)
    assert [student for _, student in postponed.retries(1, nothing_else=False)] == ["0"], "nothing is waited for"
    assert not postponed.postpones(trial("0"), lost=False, again=True), "now it has failed"


def test_what_is_left_over_tries_although_the_device_is_lost():
    postponed = Postponed(at_once=1)
    assert postponed.postpones(trial("a"), lost=True)
    assert [student for _, student in postponed.retries(1, nothing_else=True)] == ["a"]


@pytest.mark.parametrize("at_once", [1, 4])
def test_too_many_in_a_row_end_the_search(at_once):
    postponed, most = Postponed(at_once), LOST_IN_A_ROW + at_once - 1
    for number in range(most - 1):
        assert postponed.postpones(trial(str(number)), lost=True)
    assert not postponed.postpones(trial("between"), lost=False)
    for number in range(most - 1):
        assert not postponed.postpones(trial(str(number)), lost=True)
    with pytest.raises(DeviceLost, match=f"last is lost. {most} candidates in a row could not be measured"):
        postponed.postpones(trial("last"), lost=True)
