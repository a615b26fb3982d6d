"""Multi-objective tree-structured Parzen estimator (Ozaki et al. 2022, doi:10.1613/jair.1.13188) by Optuna."""

import numpy as np
from optuna.samplers import TPESampler

from erde_nas.searching.searchers.children import breed, variation_of
from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.memory import Memory
from erde_nas.searching.searchers.optuna_study import OptunaStudy
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Proposal, Trial


class Strategy:
    """TPE over all parameters together, after ten random trials (Optuna's default).

    The more trials there are, the more often TPE wants one that it has had. A mutation of that one takes its place:
    asking again mostly brings the same answer, and takes as long as the first time.
    """

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._study, self._variation = OptunaStudy(space.parameters, objectives), variation_of(space)
        self._memory = Memory()

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        params = self._study.sample(_make_sampler, seed)
        if seen(params):
            params = breed([params], self._variation, np.random.default_rng(seed), seen)
        return Proposal(params)

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        if self._memory.tell(trial):
            self._study.forget()
            for kept in self._memory.trials:
                self._study.add(kept)
        elif trial.state == "complete":
            self._study.add(trial)


def _make_sampler(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=False)
