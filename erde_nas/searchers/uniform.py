"""Random search by Optuna's random sampler: the baseline that every other strategy has to beat."""

from optuna.samplers import RandomSampler

from erde_nas.records import Proposal, Trial
from erde_nas.searchers.interface import SearchSpace, Seen
from erde_nas.searchers.optuna_study import OptunaStudy


class Strategy:
    """Every choice with equal probability."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._study = OptunaStudy(space.parameters, objectives)

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        return Proposal(self._study.sample(RandomSampler, seed))

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""
