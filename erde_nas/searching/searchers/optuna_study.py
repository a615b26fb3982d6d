"""The trials told so far as an Optuna study in memory, from which a fresh sampler draws one suggestion.

Suggestions leave no trial behind: the samplers are called as Optuna's own `Trial` calls them, with a trial that is in
no study, so proposals that still run cannot influence others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from erde_nas.space.interface import Parameters
from erde_nas.space.trial import Choice, Trial

STUDY = "search"


class OptunaStudy:
    """Complete trials as Optuna sees them. Optuna ignores failed ones, so they are not kept."""

    def __init__(self, parameters: Parameters, objectives: int) -> None:
        self._parameters = parameters
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(choices) for name, choices in parameters.items()
        }
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
            params=trial.params,
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
        params: dict[str, Choice] = {}
        for name, choices in self._parameters.items():
            if name in drawn:
                params[name] = drawn[name]
            elif name in varying:
                params[name] = independent.sample_independent(study, trial, name, varying[name])
            else:
                (params[name],) = choices
        return params


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line on stderr for a new study; the level that was set before comes back."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
