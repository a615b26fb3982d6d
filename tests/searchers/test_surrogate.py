"""The surrogate's parts against slow or textbook forms, and what a memory keeps."""

import numpy as np
import pytest

from erde_nas.pareto import hypervolume
from erde_nas.records import Trial
from erde_nas.searchers import memory
from erde_nas.searchers.gaussian_process import bases, fit, kernel
from erde_nas.searchers.memory import Memory, best
from erde_nas.searchers.surrogate import gains


@pytest.mark.parametrize("seed", range(5))
def test_gains_are_differences_of_hypervolumes(seed):
    rng = np.random.default_rng(seed)
    known, points = rng.integers(0, 8, (6, 2)).astype(float), rng.integers(-2, 10, (40, 2)).astype(float)
    reference, floor = known.max(axis=0), hypervolume(known, known.max(axis=0))
    slow = [hypervolume(np.vstack([known, point]), reference) - floor for point in points]
    assert gains(points, known) == pytest.approx(slow)


def test_draws_have_the_posterior_of_the_textbook():
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
    mean = cross @ inverse @ y
    covariance = process.variance * (kernel(new, new, length) - cross @ inverse @ cross.T)
    drawn = np.array([process.draw(new, rng) for _ in range(20_000)])
    deviation = np.sqrt(np.diag(covariance).max())
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.05 * deviation)
    assert np.cov(drawn.T) == pytest.approx(covariance, abs=0.05 * deviation**2)


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
