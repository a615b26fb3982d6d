"""Searchers on a problem whose front is known: ten parameters, error and cost are sums over them."""

from functools import cache

import numpy as np
import pytest

from erde_nas.pareto import hypervolume, non_dominated
from erde_nas.searching.searchers import make_searcher
from erde_nas.space.trial import Trial

CHOICES = (8, 16, 32, 64)
PARAMETERS = 10
REFERENCE = (1.0, 1.0)


class Separable:
    """Larger choices lower the error and raise the cost, every parameter at its own rates; both lie in [0, 1]."""

    parameters = {f"p{i}": CHOICES for i in range(PARAMETERS)}  # noqa: RUF012

    def __init__(self):
        generator = np.random.default_rng(0)
        self.gain, self.cost = (generator.random((PARAMETERS, len(CHOICES))).cumsum(axis=1) for _ in range(2))
        self.gain /= self.gain[:, -1].sum()
        self.cost /= self.cost[:, -1].sum()

    def identify(self, params):
        return str(sorted(params.items()))

    def objectives(self, params):
        at = np.arange(PARAMETERS), [CHOICES.index(value) for value in params.values()]
        return 1 - float(self.gain[at].sum()), float(self.cost[at].sum())

    def front(self):
        """The exact front: add parameter after parameter and keep what is not dominated, as the sum is separable."""
        front = np.array([[1.0, 0.0]])
        for gain, cost in zip(self.gain, self.cost, strict=True):
            sums = (front[:, None] + np.stack([-gain, cost], axis=1)).reshape(-1, 2)  # (front * choices, 2)
            front = sums[non_dominated(sums)]
        return front


@cache
def share_of_the_front(name, seed, trials):
    """Hypervolume that `trials` evaluations reach, as a share of the front's."""
    problem = Separable()
    searcher = make_searcher(name, problem, objectives=2, seed=seed)
    found = []
    for number in range(trials):
        proposal = searcher.ask()
        found.append(problem.objectives(proposal.params))
        searcher.tell(Trial(number, "", proposal.params, "complete", found[-1], attrs=proposal.attrs))
    return hypervolume(found, REFERENCE) / hypervolume(problem.front(), REFERENCE)


def test_nsga2_with_200_evaluations_beats_random_search():
    nsga2, uniform = ([share_of_the_front(name, seed, 200) for seed in range(3)] for name in ("nsga2", "random"))
    assert max(nsga2) < 1
    assert np.median(nsga2) > np.median(uniform)


@pytest.mark.parametrize("name", ["tpe", "nni-tpe", "nni-evolution"])
def test_the_others_beat_random_search_with_100(name):
    guided, uniform = ([share_of_the_front(key, seed, 100) for seed in range(2)] for key in (name, "random"))
    assert np.median(guided) > np.median(uniform)
