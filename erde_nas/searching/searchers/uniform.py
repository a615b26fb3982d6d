"""Random search by Optuna's random sampler: the baseline that every other strategy has to beat."""

from optuna.samplers import RandomSampler

from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.optuna_study import OptunaStudy
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Proposal, Trial


class Strategy:
    """Every choice with equal probability."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._study = OptunaStudy(space.parameters, objectives)

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        return Proposal(self._study.sample(RandomSampler, seed))

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""
