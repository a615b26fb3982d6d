"""Estimated times, added up by hand."""

import json

import pytest

from erde_nas.plan import after_search_s, candidate_s, plan_text, search_s
from erde_nas.recipe import Recipe
from erde_nas.run import CANDIDATE_S, FILE_S


def recipe(**search: object) -> Recipe:
    epochs = {"finish": 12, "compress": 8}
    values = {
        "name": "by hand",
        "dataset": {"name": "digits"},
        "space": {"depths": [[1]], "widths": [[8]]},
        "train": {"epochs": 5},
        "search": search,
        "finish": {"students": 4, "rungs": 2, "train": {"epochs": epochs["finish"]}},
        "compress": {"prune": [0.3, 0.5], "train": {"epochs": epochs["compress"]}},
    }
    return Recipe.model_validate_json(json.dumps(values))


def test_everything_after_the_search() -> None:
    """8 students for 6 epochs and 4 for 6 more, 8 pruned ones for 8 epochs, 15 files under 2 profiles."""
    assert after_search_s(recipe(), profiles=2, epoch_s=0.5, parallel=1) == {
        "finish": pytest.approx(72 * 0.5),
        "prune": pytest.approx(64 * 0.5),
        "measure": pytest.approx(15 * 2 * FILE_S),
    }
    sixteen = after_search_s(recipe(), profiles=2, epoch_s=0.5, parallel=16)
    assert sixteen["finish"] == pytest.approx(72 * 0.5 / 4), "never more at once than there are"
    assert sixteen["prune"] == pytest.approx(64 * 0.5 / 8)


def test_candidates_that_are_missing() -> None:
    unit = 5 * 0.5 + CANDIDATE_S
    assert candidate_s(recipe(), 0.5) == pytest.approx(unit)
    assert candidate_s(recipe(evaluator="supernet"), 0.5) == pytest.approx(CANDIDATE_S)
    assert search_s(recipe(trials=24), done=4, epoch_s=0.5, spent_s=9.0, after_s=9.0) == (24, pytest.approx(20 * unit))
    assert search_s(recipe(trials=2), done=4, epoch_s=0.5, spent_s=9.0, after_s=9.0) == (2, 0)


def test_hours_say_how_many_candidates_fit() -> None:
    unit = 5 * 0.5 + CANDIDATE_S
    spent, after = 600.0, 1000.0
    fit = int((3600 - spent - after) / unit)
    found = search_s(recipe(trials=None, hours=1.0), done=7, epoch_s=0.5, spent_s=spent, after_s=after)
    assert found == (7 + fit, pytest.approx(fit * unit))


def test_the_plan_in_words() -> None:
    seconds = {"search": 60.0, "finish": 65.0}
    assert plan_text(recipe(trials=24), 24, 0, seconds) == (
        "plan: 24 candidates x 5 epochs; finish 8 x 6 -> 4 x 6 epochs; prune 30%, 50% x 8 epochs; about 2m05s from here"
    )
    assert plan_text(recipe(trials=None, hours=2.0, patience=9, evaluator="supernet"), 80, 3, seconds) == (
        "plan: about 80 candidates of a supernet (3 done), fewer if 9 in a row add nothing; finish 8 x 6 -> 4 x 6 "
        "epochs; prune 30%, 50% x 8 epochs; about 2m05s from here"
    )
