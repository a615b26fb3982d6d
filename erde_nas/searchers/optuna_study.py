"""The trials told so far as an Optuna study in memory, from which a fresh sampler draws one suggestion.

Suggestions leave no trial behind: the samplers are called as Optuna's own `Trial` calls them, with a trial that is in
no study, so proposals that still run cannot influence others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from erde_nas.records import Choice, Trial
from erde_nas.searchers.interface import Parameters, Params

STUDY = "search"


class OptunaStudy:
    """Complete trials as Optuna sees them. Optuna ignores failed ones, so they are not kept."""

    def __init__(self, parameters: Parameters, objectives: int) -> None:
        self._choices = {name: _ordered(choices) for name, choices in parameters.items()}
        self._distributions = {name: _distribution(choices) for name, choices in self._choices.items()}
        self._objectives = objectives
        self.forget()

    def forget(self) -> None:
        """Start again without trials."""
        self._storage = optuna.storages.InMemoryStorage()
        with _quiet():
            self._study = optuna.create_study(
                study_name=STUDY, storage=self._storage, directions=["minimize"] * self._objectives
            )

    def load(self, sampler: BaseSampler) -> optuna.Study:
        """The study for one use: a `Study` object remembers which trials it found when it was first used."""
        return optuna.load_study(study_name=STUDY, storage=self._storage, sampler=sampler)

    def add(self, trial: Trial, attrs: dict[str, Any] | None = None) -> None:
        """Keep a complete trial, with the sampler's system attributes."""
        frozen = create_trial(
            params=self.encode(trial.params),
            distributions=self._distributions,
            values=list(trial.objectives),
            constraints={str(index): value for index, value in enumerate(trial.constraints)},
            system_attrs=attrs,
        )
        self._study.add_trial(frozen)

    def sample(
        self, make_sampler: Callable[[int], BaseSampler], seed: int, attrs: dict[str, Any] | None = None
    ) -> dict[str, Choice]:
        """Params from fresh samplers, for a trial with the system attributes `attrs`.

        Parameters that the strategy leaves open (the first trials, mutated genes) come from a second sampler: in one
        fresh sampler both would be drawn from generators of equal seeds, and be correlated.
        """
        seeds = np.random.SeedSequence(seed).generate_state(2)
        relative, independent = (make_sampler(int(value)) for value in seeds)
        trial = create_trial(state=TrialState.RUNNING, system_attrs=attrs)
        varying = {name: choices for name, choices in self._distributions.items() if not choices.single()}
        drawn = relative.sample_relative(self.load(relative), trial, varying)
        study = self.load(independent)
        positions: dict[str, Choice] = {}
        for name in self._choices:
            if name in drawn:
                positions[name] = drawn[name]
            elif name in varying:
                positions[name] = independent.sample_independent(study, trial, name, varying[name])
        return self.decode(positions)

    def encode(self, params: Params) -> dict[str, Choice]:
        """Choices -> what Optuna sees: numbers as their positions, in which it knows neighbours; names as they are."""
        return {n: c if isinstance(c, str) else self._choices[n].index(c) for n, c in params.items()}

    def decode(self, positions: Params) -> dict[str, Choice]:
        """The inverse of `encode`; parameters with a single choice may be missing."""
        params = {}
        for name, choices in self._choices.items():
            position = positions.get(name, 0 if len(choices) == 1 else None)
            params[name] = position if isinstance(position, str) else choices[int(position)]
        return params


def _ordered(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    return choices if any(isinstance(choice, str) for choice in choices) else tuple(sorted(choices, key=float))


def _distribution(choices: tuple[Choice, ...]) -> BaseDistribution:
    if any(isinstance(choice, str) for choice in choices):
        return CategoricalDistribution(choices)
    return IntDistribution(0, len(choices) - 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line on stderr for a new study; the level that was set before comes back."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
