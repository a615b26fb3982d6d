"""Estimated times, added up by hand."""

import json
from typing import Any

import pytest

from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe
from erde_nas.run.manifest import Probe
from erde_nas.run.pace import ALLOWANCE, EXPORT, FILE_S, MEASURE, SLIM, SLIM_S, Pace, measuring_s
from erde_nas.searching.plan import REPORT_S, after_search_s, candidate_s, make_plan

HOW = {"warmup_calls": 30, "calls_per_block": 10, "blocks": 15, "processes": 6, "stream_images": 100, "allowance_s": 60}
FP32 = HardwareProfile.model_validate({"name": "fp32", "measure": HOW})
INT8 = HardwareProfile.model_validate({"name": "int8", "precision": "int8", "measure": HOW})
TWO_THREADS = HardwareProfile.model_validate({"name": "two", "threads": 2, "measure": HOW})
PROBE = Probe(candidate_s=1.5, process_s=0.5, call_ms=0.25)


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


def pace(**changes: Any) -> Pace:
    return Pace(**{"epoch_s": 0.5, "profiles": (FP32, INT8), "probe": PROBE, "teacher": 20.0, **changes})


UNIT = 5 * 0.5 + PROBE.candidate_s


def test_everything_after_the_search() -> None:
    """8 students for 6 epochs and 4 for 6 more, 8 pruned ones for 8 epochs, 12 students that may lose exits."""
    seconds = after_search_s(recipe(), pace())
    assert seconds == {
        "finish": pytest.approx(72 * 0.5),
        "prune": pytest.approx(64 * 0.5),
        SLIM: 12 * SLIM_S,
        **{stage: seconds[stage] for stage in (EXPORT, MEASURE, ALLOWANCE)},
        "report": REPORT_S,
    }
    assert seconds[ALLOWANCE] == 60, "both profiles are served by one measurement"
    sixteen = after_search_s(recipe(), pace(parallel=16))
    assert sixteen["finish"] == pytest.approx(72 * 0.5 / 4), "never more at once than there are"
    assert sixteen["prune"] == pytest.approx(64 * 0.5 / 8)


def test_the_final_measurement_by_hand() -> None:
    """10 students and the teacher twice; fp32, int8; 2 exits, 2 streams, reference; briefly 20 more, cut."""
    calls, brief_calls = 2 * (30 + 2 * 15 * 10) + 2 * 2 * 100, 2 * (30 + 2 * 5 * 10)
    process_s = 0.5 + 2 * (10 + 2 * 20) * calls * 0.25e-3
    brief_s = 0.5 + 2 * (3 * 10 + 2 * 20) * brief_calls * 0.25e-3
    assert measuring_s(12, pace()) == {
        EXPORT: pytest.approx(12 * FILE_S),
        MEASURE: pytest.approx(3 * brief_s + 6 * process_s),
        ALLOWANCE: 60,
    }
    apart = measuring_s(12, pace(profiles=(FP32, TWO_THREADS)))
    assert apart[ALLOWANCE] == 120, "another number of threads is measured by itself"


def test_candidates_that_are_missing() -> None:
    assert candidate_s(recipe(), pace()) == pytest.approx(UNIT)
    assert candidate_s(recipe(), pace(workers=3)) == pytest.approx(UNIT / 3)
    assert candidate_s(recipe(evaluator="supernet"), pace()) == pytest.approx(PROBE.candidate_s)
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
    assert make_plan(recipe(trials=24), pace(), done=0, spent_s=0.0)[1] == (
        "plan: 24 candidates x 5 epochs; finish 8 x 6 -> 4 x 6 epochs; prune 30%, 50% x 8 epochs"
    )
    seconds, _ = make_plan(recipe(evaluator="supernet"), pace(), done=0, spent_s=0.0)
    assert seconds["supernet"] == pytest.approx(2 * (3 + 2) * 20 * 0.5), "two families, two random sub-networks"
    assert "supernet" not in make_plan(recipe(evaluator="supernet"), pace(), done=1, spent_s=0.0)[0]
    patient = recipe(trials=None, patience=9, evaluator="supernet")
    assert make_plan(patient, pace(), done=3, spent_s=0.0)[1].startswith(
        "plan: about 39 candidates of a supernet (3 done), fewer if 9 in a row add nothing; finish "
    )
