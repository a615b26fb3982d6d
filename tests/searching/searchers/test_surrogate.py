"""The surrogate's parts against slow or textbook forms, and what a memory keeps."""

from types import SimpleNamespace

import numpy as np
import pytest

from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.pareto import hypervolume
from erde_nas.recipe.space import SpaceSection
from erde_nas.searching.searchers import make_searcher, memory, surrogate
from erde_nas.searching.searchers.children import random_params
from erde_nas.searching.searchers.gaussian_process import bases, fit, kernel
from erde_nas.searching.searchers.memory import Memory, best
from erde_nas.searching.searchers.surrogate import COST_SPREAD, Description, expected_gains, gains
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial


@pytest.mark.parametrize("seed", range(5))
def test_gains_are_differences_of_hypervolumes(seed):
    rng = np.random.default_rng(seed)
    known, points = rng.integers(0, 8, (6, 2)).astype(float), rng.integers(-2, 10, (40, 2)).astype(float)
    reference, floor = known.max(axis=0), hypervolume(known, known.max(axis=0))
    slow = [hypervolume(np.vstack([known, point]), reference) - floor for point in points]
    assert gains(points, known) == pytest.approx(slow)


def test_predictions_are_those_of_the_textbook():
    """Rasmussen and Williams 2006, eq. 2.25 and 2.26, with the noise that was chosen."""
    rng = np.random.default_rng(0)
    x, new = rng.random((12, 2)), rng.random((3, 2))
    y = np.sin(4 * x[:, 0]) + x[:, 1]
    y -= y.mean()
    process = fit(bases(x), y)
    length = process.basis.length
    k, cross = kernel(x, x, length), kernel(new, x, length)
    noise = np.median(process.spectrum - np.linalg.eigvalsh(k).clip(0))
    inverse = np.linalg.inv(k + noise * np.eye(len(x)))
    mean, deviation = process.at(new)
    assert mean == pytest.approx(cross @ inverse @ y)
    covariance = process.variance * (kernel(new, new, length) - cross @ inverse @ cross.T)
    assert deviation**2 == pytest.approx(np.diag(covariance))


def test_what_is_expected_of_two_objectives_is_the_mean_gain():
    rng = np.random.default_rng(3)
    known, draws = rng.random((9, 2)), rng.random((32, 5, 2)) * 0.8
    reference, floor = known.max(axis=0), hypervolume(known, known.max(axis=0))
    slow = [np.mean([hypervolume(np.vstack([known, p]), reference) - floor for p in draws[:, k]]) for k in range(5)]
    assert expected_gains(draws, known, np.array([0.5, 0.5])) == pytest.approx(slow)


def test_what_is_expected_of_three_objectives_is_the_mean_improvement_under_the_weights():
    known = np.array([[0.5, 0.5, 0.5], [1.0, 0.0, 1.0]])
    draws = np.array([[[0.25, 0.25, 0.25], [1.0, 1.0, 1.0]], [[0.75, 0.75, 0.75], [0.0, 1.0, 1.0]]])
    found = expected_gains(draws, known, np.array([1.0, 0.0, 0.0]))  # all values lie in [0, 1]: losses are 1.05 f
    assert found == pytest.approx([1.05 * 0.25 / 2, 1.05 * 0.5 / 2])


def test_what_an_architecture_is_known_to_cost_is_among_its_features():
    section = SpaceSection(families=("resnet",), depths=((1, 2),), widths=((8, 16, 24),), heads=("gap",))
    space = Space(section, (1, 8, 8), 2)
    rng = np.random.default_rng(0)
    some = [random_params(space.parameters, rng) for _ in range(20)]
    points, bare = Description(space)(some), Description(SimpleNamespace(parameters=space.parameters))(some)
    costs = np.log([macs_per_exit(EarlyExitNetwork(space.decode(p), (0.5,), (0.2,)))[-1] for p in some])
    assert points.shape[1] == bare.shape[1] + 3
    assert np.corrcoef(points[:, bare.shape[1]], costs)[0, 1] == pytest.approx(1)
    assert points[:, bare.shape[1] :].std(axis=0) == pytest.approx(COST_SPREAD)
    columns = [name for name, c in space.parameters.items() for _ in (c if isinstance(c[0], str) else c[:1])]
    assert points[:, columns.index("width0")].tolist() == [(p["width0"] - 8) / 16 for p in some]


def trial(number, value, constraints=()):
    return Trial(number, str(number), {}, "complete", (value, -value), constraints)


def test_the_best_are_the_feasible_and_then_the_least_violating():
    trials = [trial(0, 0.0, (0.5,)), trial(1, 1.0, (-1.0,)), trial(2, 2.0, (0.1, 0.1)), trial(3, 3.0)]
    assert best(trials, 4) == [1, 3, 2, 0]
    assert best(trials, 1) == [1]


def test_a_memory_keeps_the_best_and_the_latest(monkeypatch):
    for name, value in (("LIMIT", 6), ("BEST", 2), ("LATEST", 2)):
        monkeypatch.setattr(memory, name, value)
    kept = Memory()
    values = [(5.0, 5.0), (1.0, 1.0), (4.0, 4.0), (2.0, 2.0), (6.0, 6.0), (7.0, 7.0), (8.0, 8.0)]
    forgot = [kept.tell(Trial(n, str(n), {}, "complete", v)) for n, v in enumerate(values)]
    assert forgot == [False] * 6 + [True]
    assert [t.number for t in kept.trials] == [1, 3, 5, 6]
    assert not kept.tell(Trial(9, "9", {}, "failed"))
    assert len(kept.trials) == 4


def test_the_processes_are_fitted_to_as_many_points_however_many_trials_there_are(large, monkeypatch):
    fitted = []
    monkeypatch.setattr(surrogate, "bases", lambda points: fitted.append(len(points)) or bases(points))
    searcher, generator = (
        make_searcher("surrogate", large, objectives=2, seed=0, population=4),
        np.random.default_rng(0),
    )
    for number in range(600):
        if number % 50 == 0:
            searcher.ask()
        searcher.tell(large.trial(number, Proposal(random_params(large.parameters, generator))))
    assert fitted[0] == 50
    assert set(fitted[1:]) <= set(range(50, surrogate.POINTS + 1))
