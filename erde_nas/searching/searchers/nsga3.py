"""NSGA-III (Deb and Jain 2014, doi:10.1109/TEVC.2013.2281534): Optuna's selection, children that fit the search space.

Reference points take the place of NSGA-II's crowding distance: meant for more than two objectives.
"""

from optuna.samplers import NSGAIIISampler

from erde_nas.searching.searchers.generations import Generations
from erde_nas.space.interface import SearchSpace


class Strategy(Generations):
    """See `generations.Generations`."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        super().__init__(NSGAIIISampler, "NSGAIIISampler", space, objectives, population)
