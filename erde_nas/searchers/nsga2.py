"""NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017) by Optuna: uniform crossover, about one mutation per child."""

from functools import partial

from optuna.samplers import NSGAIISampler

from erde_nas.records import Proposal, Trial
from erde_nas.searchers.interface import Parameters
from erde_nas.searchers.optuna_study import OptunaStudy

GENERATION = "NSGAIISampler:generation"  # the system attribute in which Optuna's sampler keeps a trial's generation


class Strategy:
    """Generations of `population` complete trials, in the order in which they were told.

    Optuna fixes the parents of a generation when someone first asks for a child. Here they are fixed as soon as the
    generation before is full, and a straggler counts for the generation in which it arrives: with parallel workers,
    too, the state follows from the tells alone.
    """

    def __init__(self, parameters: Parameters, *, objectives: int, population: int) -> None:
        self._study = OptunaStudy(parameters, objectives)
        self._make_sampler = partial(_make_sampler, population)
        self._population = population
        self._complete = 0

    def suggest(self, seed: int) -> Proposal:
        """See `interface.Strategy`."""
        attrs = {GENERATION: self._complete // self._population}
        return Proposal(self._study.sample(self._make_sampler, seed, attrs), attrs)

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        if trial.state == "failed":
            return
        self._study.add(trial, {GENERATION: self._complete // self._population})
        self._complete += 1
        generation, members = divmod(self._complete, self._population)
        if members == 0:
            sampler = self._make_sampler(0)
            sampler.get_parent_population(self._study.load(sampler), generation)


def _make_sampler(population: int, seed: int) -> NSGAIISampler:
    return NSGAIISampler(population_size=population, seed=seed)
