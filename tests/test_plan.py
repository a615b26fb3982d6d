"""Estimated times, added up by hand."""

import json

import pytest

from erde_nas.plan import Pace, after_search_s, candidate_s, make_plan
from erde_nas.progress import duration
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


def pace(**changes: float) -> Pace:
    return Pace(**{"epoch_s": 0.5, "workers": 1, "parallel": 1, "profiles": 2, **changes})


UNIT = 5 * 0.5 + CANDIDATE_S


def test_everything_after_the_search() -> None:
    """8 students for 6 epochs and 4 for 6 more, 8 pruned ones for 8 epochs, 15 files under 2 profiles."""
    assert after_search_s(recipe(), pace()) == {
        "finish": pytest.approx(72 * 0.5),
        "prune": pytest.approx(64 * 0.5),
        "measure": pytest.approx(15 * 2 * FILE_S),
    }
    sixteen = after_search_s(recipe(), pace(parallel=16))
    assert sixteen["finish"] == pytest.approx(72 * 0.5 / 4), "never more at once than there are"
    assert sixteen["prune"] == pytest.approx(64 * 0.5 / 8)


def test_candidates_that_are_missing() -> None:
    assert candidate_s(recipe(), pace()) == pytest.approx(UNIT)
    assert candidate_s(recipe(), pace(workers=3)) == pytest.approx(UNIT / 3)
    assert candidate_s(recipe(evaluator="supernet"), pace()) == pytest.approx(CANDIDATE_S)
    for trials, missing in ((24, 20), (2, 0)):
        seconds, _ = make_plan(recipe(trials=trials), pace(), done=4, spent_s=9.0)
        assert seconds == {"search": pytest.approx(missing * UNIT), **after_search_s(recipe(), pace())}


def test_hours_say_how_many_candidates_fit() -> None:
    after = sum(after_search_s(recipe(), pace()).values())
    fit = int((3600 - 600 - after) / UNIT)
    seconds, text = make_plan(recipe(trials=None, hours=1.0), pace(), done=7, spent_s=600.0)
    assert seconds["search"] == pytest.approx(fit * UNIT)
    assert text.startswith(f"plan: about {7 + fit} candidates x 5 epochs (7 done); ")


def test_the_plan_in_words() -> None:
    total = duration(sum(make_plan(recipe(trials=24), pace(), done=0, spent_s=0.0)[0].values()))
    assert make_plan(recipe(trials=24), pace(), done=0, spent_s=0.0)[1] == (
        f"plan: 24 candidates x 5 epochs; finish 8 x 6 -> 4 x 6 epochs; prune 30%, 50% x 8 epochs; about {total} from "
        "here"
    )
    seconds, _ = make_plan(recipe(evaluator="supernet"), pace(), done=0, spent_s=0.0)
    assert seconds["supernet"] == pytest.approx(2 * (3 + 2) * 20 * 0.5), "two families, two random sub-networks"
    assert "supernet" not in make_plan(recipe(evaluator="supernet"), pace(), done=1, spent_s=0.0)[0]
    patient = recipe(trials=None, patience=9, evaluator="supernet")
    assert make_plan(patient, pace(), done=3, spent_s=0.0)[1].startswith(
        "plan: about 39 candidates of a supernet (3 done), fewer if 9 in a row add nothing; finish "
    )
