"""Which candidates a rank check takes, and what the report says of their accuracies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from erde_nas.files import write_json
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.search import SearchSection
from erde_nas.report.facts import run_facts
from erde_nas.report_data.report import CheckedCandidate, RankCheck
from erde_nas.run.folder import RunStore
from erde_nas.run.pace import Pace
from erde_nas.searching.plan import after_search_s, make_plan
from erde_nas.searching.rank_check import FILE, STAGE, rank_check_report, spread
from erde_nas.searching.workers.work import longest_training
from erde_nas.space.trial import Trial
from tests.report.conftest import model
from tests.space.builders import findings, judged


def trial(accuracy: float, state: Any = "complete") -> Trial:
    found = findings(judged((0.0, accuracy))) if state == "complete" else None
    return Trial(0, f"s{accuracy:g}", {}, state, findings=found)


def names(trials: list[Trial]) -> list[str]:
    return [found.student for found in trials]


def test_candidates_come_from_the_whole_range_whatever_their_order() -> None:
    trials = [trial(value) for value in np.random.default_rng(0).permutation(np.arange(9) / 10)]
    assert names(spread(trials, 3)) == ["s0", "s0.4", "s0.8"]
    assert names(spread(trials, 5)) == ["s0", "s0.2", "s0.4", "s0.6", "s0.8"]
    assert names(spread([*trials, trial(0.99, "failed")], 99)) == [f"s{value / 10:g}" for value in range(9)]
    assert spread(trials, 0) == spread([], 4) == []
    equal = [Trial(0, name, {}, "complete", findings=findings(judged((0.5,)))) for name in "cab"]
    assert names(spread(equal, 3)) == ["a", "b", "c"], "the same from the same trials, in whatever order they came"


def test_the_report_correlates_each_two_evaluations(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    searched = np.arange(24) / 30
    full, brief = searched + generator.normal(0, 0.1, 24), searched + generator.normal(0, 0.3, 24)
    trials = [trial(value) for value in searched]
    known: dict[str, Any] = {
        found.student: {"full": float(f), "brief": float(b)} for found, f, b in zip(trials, full, brief, strict=True)
    }
    known[trials[3].student]["full"] = None  # its training failed
    del known[trials[5].student]["brief"]  # the run was interrupted
    known["another run's"] = {"full": 0.5}
    write_json(tmp_path / FILE, known)
    found = rank_check_report(RunStore(tmp_path), "supernet", trials)
    assert found is not None
    assert len(found.candidates) == 24
    assert found.candidates[0] == CheckedCandidate("s0", one_shot=0.0, **known["s0"])
    taus = {(pair.first, pair.second): pair for pair in found.correlations}
    with_full, with_brief = np.arange(24) != 3, np.arange(24) != 5
    for key, (x, y, those) in {
        ("one_shot", "full"): (searched, full, with_full),
        ("brief", "full"): (brief, full, with_full & with_brief),
        ("one_shot", "brief"): (searched, brief, with_brief),
    }.items():
        assert taus[key].tau == pytest.approx(stats.kendalltau(x[those], y[those]).statistic)
        assert taus[key].low < taus[key].tau < taus[key].high
        assert taus[key].n == those.sum()
    text = dict(run_facts(replace(model({}), rank_check=found)))["Rank check"]
    assert text.startswith(
        "Kendall's tau of validation accuracies, 24 candidates from the whole range that was searched: "
        f"slices of the supernet and full training {taus['one_shot', 'full'].tau:.2f} (95% interval "
    )
    assert "n = 22" in text

    trained = rank_check_report(RunStore(tmp_path), "train", trials[:3])
    assert trained is not None
    assert [(p.first, p.second) for p in trained.correlations] == [("brief", "full")]
    assert trained.correlations[0].n == 3
    assert rank_check_report(RunStore(tmp_path), "train", []) is None
    assert rank_check_report(RunStore(tmp_path / "none"), "train", trials) is None
    none = RankCheck((CheckedCandidate("a"), CheckedCandidate("b")), ())
    assert dict(run_facts(replace(model({}), rank_check=none)))["Rank check"].endswith(
        "searched: too few came through their training"
    )


@pytest.mark.parametrize(("evaluator", "epochs"), [("train", 12), ("supernet", 12 + 50)])
def test_its_cost_is_in_the_plan(evaluator: str, epochs: int) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "by hand", "dataset": {"name": "digits"}, "space": {"depths": ((1,),), "widths": ((8,),)},
            "train": {"epochs": 50}, "search": {"rank_check": 20, "evaluator": evaluator},
            "finish": {"train": {"epochs": 12}}, "compress": {"train": {"epochs": 8}},
        }
    )  # fmt: skip
    pace = Pace(epoch_s=0.5, parallel=4)
    assert after_search_s(recipe, pace)[STAGE] == pytest.approx(20 * epochs * 0.5 / 4)
    lengths = "12" if evaluator == "train" else "50 + 12"
    assert f"; rank check 20 x {lengths} epochs" in make_plan(recipe, pace, done=0, spent_s=0.0)[1]
    assert longest_training(recipe) == 50, "the teacher's logits reach as far as the brief training"


def test_two_candidates_are_too_few() -> None:
    with pytest.raises(ValueError, match=r"rank_check must be 0 or at least 3 .* got 2"):
        SearchSection(rank_check=2)
