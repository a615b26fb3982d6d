"""NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017): Optuna's selection, children that fit the search space."""

from optuna.samplers import NSGAIISampler

from erde_nas.searching.searchers.generations import Generations
from erde_nas.space.interface import SearchSpace


class Strategy(Generations):
    """See `generations.Generations`."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        super().__init__(NSGAIISampler, "NSGAIISampler", space, objectives, population)
