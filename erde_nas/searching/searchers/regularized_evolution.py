"""Regularized evolution (Real et al. 2019, arXiv:1802.01548): the best of a random sample has a child, the oldest dies.

For several objectives the best of the sample is the one of the least violation, then of the best non-domination rank,
then of the greatest crowding distance. NNI's tuner of that name takes no plain choices, only its layer choices.
"""

from collections import deque

import numpy as np

from erde_nas.searching.searchers.children import breed, random_params, variation_of
from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.memory import best
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Proposal, Trial

SHARE = 0.25  # of the population in a sample, as in the paper's experiments (25 of 100)


class Strategy:
    """The population are the latest `population` complete trials; until there are as many, it proposes at random."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._parameters, self._variation = space.parameters, variation_of(space)
        self._population: deque[Trial] = deque(maxlen=population)
        self._sample = max(2, round(SHARE * population))

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        generator = np.random.default_rng(seed)
        if len(self._population) < (self._population.maxlen or 0):
            return Proposal(random_params(self._parameters, generator))
        drawn = generator.choice(len(self._population), self._sample, replace=False)
        sample = [self._population[index] for index in drawn]
        parent = sample[best(sample, 1)[0]]
        return Proposal(breed([parent.params], self._variation, generator, seen))

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        if trial.state == "complete":
            self._population.append(trial)
