"""Every combination of choices in turn, by NNI's GridSearchTuner: for spaces that are searched as a whole."""

import nni
from nni.algorithms.hpo.gridsearch_tuner import GridSearchTuner

from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.nni_history import NniHistory
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Choice, Proposal, Trial

PATIENCE = 100_000  # combinations in a row that mean nothing new, before the searcher is left to draw at random


class Strategy:
    """The first combination of the grid that was not seen.

    The tuner only walks on: what lies behind it was seen, and stays so.
    """

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._history = NniHistory(space.parameters, objectives)
        self._tuner = GridSearchTuner()
        self._tuner.update_search_space(self._history.space)
        self._next: dict[str, Choice] = {}

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        self._next = self._next or self._step()
        for _ in range(PATIENCE):
            if not seen(self._next):
                break
            try:
                self._next = self._step()
            except nni.NoMoreTrialError:
                break
        return Proposal(self._next)

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""

    def _step(self) -> dict[str, Choice]:
        return self._history.params(self._tuner.generate_parameters(0))
