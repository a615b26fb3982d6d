"""Evolution in generations by Optuna's NSGA samplers, with children that fit the search space."""

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import NSGAIIISampler, NSGAIISampler
from optuna.trial import FrozenTrial

from erde_nas.searching.searchers.children import breed, variation_of
from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.optuna_study import OptunaStudy
from erde_nas.space.interface import SearchSpace
from erde_nas.space.trial import Choice, Proposal, Trial

Children = Callable[[optuna.Study, dict[str, Any], list[FrozenTrial]], dict[str, Choice]]


class MakeSampler(Protocol):
    """A sampler class of Optuna's, NSGA-II's or NSGA-III's."""

    def __call__(
        self, *, population_size: int, seed: int, child_generation_strategy: Children
    ) -> NSGAIISampler | NSGAIIISampler:
        """A sampler."""


class Generations:
    """Generations of `population` complete trials, in the order in which they were told.

    Optuna fixes the parents of a generation when someone first asks for a child. Here they are fixed as soon as the
    generation before is full, and a straggler counts for the generation in which it arrives: with parallel workers,
    too, the state follows from the tells alone. Who is no parent of a generation is forgotten once that is fixed: the
    study calls the parents its generation 0 and what fills up its generation 1, however many there were before.
    """

    def __init__(self, make: MakeSampler, name: str, space: SearchSpace, objectives: int, population: int) -> None:
        self._make, self._population = make, population
        self._generation = f"{name}:generation"  # the system attribute in which the sampler keeps it
        self._study = OptunaStudy(space.parameters, objectives)
        self._variation = variation_of(space)
        self._trials: list[Trial] = []  # as the study has them: the parents, and the generation that fills up
        self._complete = 0

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        attrs = {self._generation: self._filling}
        params = self._study.sample(lambda number: self._sampler(number, seen), seed, attrs)
        return Proposal(params, {self._generation: self._complete // self._population})

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        if trial.state == "failed":
            return
        self._add(trial, self._filling)
        self._complete += 1
        if self._complete % self._population == 0:
            self._fix_parents()

    @property
    def _filling(self) -> int:
        """The generation that fills up, as the study calls it."""
        return min(1, self._complete // self._population)

    def _fix_parents(self) -> None:
        """Those of the next generation. The study knows nothing else then."""
        sampler = self._sampler(0, lambda params: False)
        if self._complete > self._population:
            parents = sampler.get_parent_population(self._study.load(sampler), 2)
            kept = [self._trials[number] for number in sorted(parent.number for parent in parents)]
            self._study.forget()
            self._trials.clear()
            for trial in kept:
                self._add(trial, 0)
        sampler.get_parent_population(self._study.load(sampler), 1)

    def _add(self, trial: Trial, generation: int) -> None:
        self._study.add(trial, {self._generation: generation})
        self._trials.append(trial)

    def _sampler(self, seed: int, seen: Seen) -> NSGAIISampler | NSGAIIISampler:
        def children(study: optuna.Study, space: dict[str, Any], parents: list[FrozenTrial]) -> dict[str, Choice]:
            return breed([parent.params for parent in parents], self._variation, np.random.default_rng(seed), seen)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's word for an argument that may change
            return self._make(population_size=self._population, seed=seed, child_generation_strategy=children)
