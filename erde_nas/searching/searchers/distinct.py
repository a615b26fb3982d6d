"""Turns a strategy into a searcher: no architecture twice, the same proposals after a restart, an end to small spaces.

Every suggestion gets its own seed, derived from the search's seed, the number of trials told and the number of
suggestions since the last one. So a searcher that is told the stored trials goes on where the other one stopped.
"""

import math
from dataclasses import replace
from itertools import product

import numpy as np

from erde_nas.errors import SpaceExhausted, UserError
from erde_nas.searching.searchers.children import random_params
from erde_nas.searching.searchers.interface import Strategy
from erde_nas.space.interface import Parameters, Params, SearchSpace
from erde_nas.space.trial import Choice, Proposal, Trial

SUGGESTIONS = 16  # of the strategy for one ask, before the searcher draws at random from what is unseen
DRAWS = 64  # at random, before a space is enumerated
LAST_DRAWS = 10_000  # at random, before a space that is too large to enumerate counts as exhausted
ENUMERABLE = 100_000  # combinations of choices


class DistinctSearcher:
    """Asks `strategy` and proposes what no trial and no earlier proposal has covered."""

    def __init__(self, space: SearchSpace, strategy: Strategy, *, objectives: int, seed: int) -> None:
        self._space, self._strategy, self._objectives, self._seed = space, strategy, objectives, seed
        self._enumerable = math.prod(len(choices) for choices in space.parameters.values()) <= ENUMERABLE
        self._seen: set[str] = set()
        self._unseen: dict[str, dict[str, Choice]] | None = None  # by id, once the space was enumerated
        self._told = 0
        self._suggested = 0  # since the last tell

    def ask(self) -> Proposal:
        """See `Searcher.ask`."""
        if self._unseen == {}:
            raise SpaceExhausted(f"all {len(self._seen)} architectures of the search space have been proposed")
        for _ in range(SUGGESTIONS):
            proposal = self._strategy.suggest(self._next_seed(), self._was_seen)
            if not self._was_seen(proposal.params):
                break
        else:
            proposal = replace(proposal, params=self._draw_unseen())
        self._mark(proposal.params)
        return proposal

    def tell(self, trial: Trial) -> None:
        """See `Searcher.tell`. Raises ValueError for a trial whose numbers are not what its state promises."""
        check_trial(trial, self._space.parameters, self._objectives)
        parameters = self._space.parameters  # a number that comes back from a file may be equal and of another type
        params = {name: choices[choices.index(trial.params[name])] for name, choices in parameters.items()}
        self._mark(params)
        self._strategy.tell(replace(trial, params=params))
        self._told += 1
        self._suggested = 0

    def _was_seen(self, params: Params) -> bool:
        return self._space.identify(params) in self._seen

    def _next_seed(self) -> int:
        sequence = np.random.SeedSequence((self._seed, self._told, self._suggested))
        self._suggested += 1
        return int(sequence.generate_state(1)[0])

    def _mark(self, params: dict[str, Choice]) -> None:
        identity = self._space.identify(params)
        self._seen.add(identity)
        if self._unseen is not None:
            self._unseen.pop(identity, None)

    def _draw_unseen(self) -> dict[str, Choice]:
        """Random params of an unseen architecture.

        Drawing comes first even where the space has been enumerated already: whether it has depends on the process's
        own past, and the proposal must not.
        """
        generator = np.random.default_rng(self._next_seed())
        for _ in range(DRAWS if self._enumerable else LAST_DRAWS):
            params = random_params(self._space.parameters, generator)
            if not self._was_seen(params):
                return params
        if not self._enumerable:
            raise SpaceExhausted(f"{LAST_DRAWS} random draws met only the {len(self._seen)} architectures seen before")
        if self._unseen is None:
            self._unseen = self._enumerate_unseen()
        if not self._unseen:
            raise SpaceExhausted(f"all {len(self._seen)} architectures of the search space have been proposed")
        return list(self._unseen.values())[generator.integers(len(self._unseen))]

    def _enumerate_unseen(self) -> dict[str, dict[str, Choice]]:
        unseen: dict[str, dict[str, Choice]] = {}
        for values in product(*self._space.parameters.values()):
            params = dict(zip(self._space.parameters, values, strict=True))
            identity = self._space.identify(params)
            if identity not in self._seen:
                unseen.setdefault(identity, params)
        return unseen


def check_trial(trial: Trial, parameters: Parameters, objectives: int) -> None:
    """Raise UserError for params outside the space, ValueError for numbers that no strategy could use."""
    if trial.params.keys() != parameters.keys():
        raise UserError(
            f"trial {trial.number} has other parameters than the search space "
            f"({', '.join(sorted(trial.params.keys() ^ parameters.keys()))}): continue with the recipe that it was "
            "searched with, or start a new run folder"
        )
    for name, choices in parameters.items():
        if trial.params[name] not in choices:
            raise UserError(
                f"trial {trial.number} has {name} = {trial.params[name]!r}, which is not among the choices "
                f"{list(choices)}: continue with the recipe that it was searched with, or start a new run folder"
            )
    if trial.state == "complete" and (len(trial.objectives) != objectives or not np.isfinite(trial.objectives).all()):
        raise ValueError(
            f"complete trial {trial.number} must have {objectives} finite objectives, but got {trial.objectives}"
        )
    if np.isnan(trial.constraints).any():
        raise ValueError(f"constraints of trial {trial.number} must be numbers, but got {trial.constraints}")
