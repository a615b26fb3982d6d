"""When a search ends, on histories whose fronts are known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from erde_nas.pareto import hypervolume
from erde_nas.recipe.search import SearchSection
from erde_nas.searching.stop import GROWTH, Budget, expected_trials
from erde_nas.space.trial import Trial
from tests.space.builders import findings, judged


def history(*points: tuple[float, float] | None) -> list[Trial]:
    """Trials with these objectives; None is a failed one."""
    return [
        Trial(n, f"s{n}", {}, "failed", reason="why") if point is None else Trial(n, f"s{n}", {}, "complete", point)
        for n, point in enumerate(points)
    ]


def spent(section: SearchSection, trials: list[Trial], seconds: float = 0.0, after_search_s: float = 0.0) -> str:
    budget = Budget(section)
    for trial in trials:
        budget.learn(trial)
    return budget.spent(seconds, after_search_s)


def stalled(trials: list[Trial], patience: int) -> bool:
    return bool(spent(SearchSection(trials=None, patience=patience), trials))


FRONT = ((0.5, 1.0), (0.3, 2.0), (0.1, 4.0))
DOMINATED = ((0.6, 1.5), (0.4, 3.0), None)


def test_a_front_that_grows_has_not_stalled() -> None:
    assert not stalled(history(*FRONT), 1)
    assert not stalled(history(*DOMINATED, *FRONT), 3)


def test_dominated_and_failed_trials_do_not_raise_the_hypervolume() -> None:
    assert stalled(history(*FRONT, *DOMINATED), 3)
    assert not stalled(history(*FRONT, *DOMINATED), 4), "the fourth from the end is on the front"


def test_a_new_extreme_is_progress_although_the_reference_moves() -> None:
    assert not stalled(history(*FRONT, (0.9, 0.5)), 1)


def test_a_trial_beyond_a_limit_is_on_no_front() -> None:
    beyond = Trial(3, "s3", {}, "complete", (0.0, 0.0), constraints=(0.1,))
    assert stalled([*history(*FRONT), beyond], 1)


def test_operating_points_that_were_not_told_count() -> None:
    """The new student's told point is dominated, and its cheapest one is new."""
    told = Trial(3, "s3", {}, "complete", (0.2, 5.0), findings=findings(judged(curve=((0.4, 0.5), (0.8, 5.0)))))
    assert not stalled([*history(*FRONT), told], 1)
    assert stalled([*history(*FRONT), replace(told, findings=None)], 1)


def test_nothing_has_stalled_before_there_is_something() -> None:
    assert not stalled([], 2)
    assert not stalled(history(None, None, None), 2)


def stalled_by_all(trials: list[Trial], patience: int) -> bool:
    """The same from the points of all trials."""
    before, now = (
        np.array([point for trial in of if trial.feasible for point in trial.points])
        for of in (trials[:-patience], trials)
    )
    if not len(before):
        return False
    low, scale = now.min(0), np.where(np.ptp(now, axis=0) > 0, np.ptp(now, axis=0), 1.0)
    old, new = (hypervolume((points - low) / scale, [1.1] * now.shape[1]) for points in (before, now))
    return new - old <= GROWTH * new


@pytest.mark.parametrize("objectives", [2, 3])
def test_what_is_kept_decides_as_all_trials_would(objectives: int) -> None:
    generator, answers = np.random.default_rng(objectives), []
    trials: list[Trial] = []
    budget = Budget(SearchSection(trials=None, patience=5))
    for number in range(400):
        point = tuple(generator.lognormal(-number / 100, 1.0, objectives).tolist())
        limits = (float(generator.normal(-1)),)
        failed = generator.random() < 0.2
        told = (
            Trial(number, f"s{number}", {}, "failed") if failed else Trial(number, "s", {}, "complete", point, limits)
        )
        trials.append(told)
        budget.learn(told)
        answers.append(bool(budget.spent(0.0, 0.0)))
        assert answers[-1] == stalled_by_all(trials, 5), number
    assert 40 < sum(answers) < 360, "both answers are tried"


def test_whichever_bound_comes_first_ends_the_search() -> None:
    section = SearchSection(trials=6, hours=1.0, patience=3)
    trials = history(*FRONT, *DOMINATED)
    assert spent(section, trials[:5], 60.0, 60.0) == ""
    assert spent(section, trials, 60.0, 60.0) == "6 candidates are evaluated"
    assert spent(section, trials[:5], 3500.0, 99.0) == ""
    assert spent(section, trials[:5], 3500.0, 100.0) == "1 h are nearly over, and the rest needs about 100 s"
    unbounded = SearchSection(trials=None, patience=3)
    assert spent(unbounded, trials, 1e9, 1e9) == "the last 3 candidates did not raise the hypervolume of the front"


def test_expected_trials_by_hand() -> None:
    assert expected_trials(SearchSection(trials=24), 0, 2.0, -5.0) == 24
    assert expected_trials(SearchSection(trials=None, hours=1.0), 10, 2.0, 100.0) == 60
    assert expected_trials(SearchSection(trials=24, hours=1.0), 10, 2.0, 100.0) == 24
    assert expected_trials(SearchSection(trials=None, hours=1.0), 10, 2.0, -100.0) == 10


def test_a_search_needs_some_end() -> None:
    with pytest.raises(ValueError, match="trials: null needs hours or patience"):
        SearchSection(trials=None)
