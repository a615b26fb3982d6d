"""Evolution by NNI's EvolutionTuner (Real et al. 2017, arXiv:1703.01041): of a random pair the better one mutates.

The tuner knows one objective and cannot import trials. So every suggestion gives it a population: the trials that are
best under a scalarisation whose weights rotate, which leads the search along the whole front.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from nni.algorithms.hpo.evolution_tuner import EvolutionTuner, Individual

from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.nni_history import NniHistory
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Proposal, Trial


class Strategy:
    """Random until `population` trials are complete, as the tuner's own first generation is; then one mutation each."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._history = NniHistory(space.parameters, objectives)
        self._population = population

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        generator = np.random.default_rng(seed)
        tuner = EvolutionTuner("maximize", population_size=1)  # filled here, not by the tuner, which has no seed
        tuner.update_search_space(self._history.space)
        tuner.random_state = np.random.RandomState(generator.integers(2**32))
        tuner.population = self._individuals(generator)
        with _seeded(int(generator.integers(2**32))):
            positions = tuner.generate_parameters(0)
        return Proposal(self._history.params(positions))

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        self._history.tell(trial)

    def _individuals(self, generator: np.random.Generator) -> list[Individual]:
        """The best trials under random weights; in the first generation one unborn, which the tuner takes as it is."""
        positions = self._history.positions
        if len(positions) < self._population:
            space = self._history.space
            return [_individual({name: int(generator.integers(len(spec["_value"]))) for name, spec in space.items()})]
        losses = np.array(self._history.losses(generator))
        best = np.argsort(losses, kind="stable")[: self._population]
        return [_individual(positions[index], -float(losses[index])) for index in best]


def _individual(positions: dict[str, int], result: float | None = None) -> Individual:
    config = {name: {"_index": position, "_value": position} for name, position in positions.items()}
    return Individual(config=config, result=result)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generator of `random`, which the tuner draws from, seeded for a while and then as it was before."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
