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
    too, the state follows from the tells alone.
    """

    def __init__(self, make: MakeSampler, name: str, space: SearchSpace, objectives: int, population: int) -> None:
        self._make, self._population = make, population
        self._generation = f"{name}:generation"  # the system attribute in which the sampler keeps it
        self._study = OptunaStudy(space.parameters, objectives)
        self._variation = variation_of(space)
        self._complete = 0

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        attrs = {self._generation: self._complete // self._population}
        return Proposal(self._study.sample(lambda number: self._sampler(number, seen), seed, attrs), attrs)

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        if trial.state == "failed":
            return
        self._study.add(trial, {self._generation: self._complete // self._population})
        self._complete += 1
        generation, members = divmod(self._complete, self._population)
        if members == 0:
            sampler = self._sampler(0, lambda params: False)
            sampler.get_parent_population(self._study.load(sampler), generation)

    def _sampler(self, seed: int, seen: Seen) -> NSGAIISampler | NSGAIIISampler:
        def children(study: optuna.Study, space: dict[str, Any], parents: list[FrozenTrial]) -> dict[str, Choice]:
            return breed([parent.params for parent in parents], self._variation, np.random.default_rng(seed), seen)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's word for an argument that may change
            return self._make(population_size=self._population, seed=seed, child_generation_strategy=children)
