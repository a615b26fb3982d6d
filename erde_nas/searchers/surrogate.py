"""Evolution with a model: of many children the one is proposed from which a Gaussian process promises the most.

Every objective has a process over the choices. One function is drawn from each posterior (Thompson sampling, for many
objectives as in Bradford et al. 2018, "TSEMO", doi:10.1007/s10898-018-0609-2), and the child is taken whose drawn
values add the most hypervolume to the front so far; with other than two objectives, or where none adds any, the one
that is best under random weights (see `scalarise`). Constraints are one more drawn value, the largest excess.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from erde_nas.pareto import non_dominated
from erde_nas.records import Choice, Proposal, Trial
from erde_nas.searchers.children import breed, random_params, variation_of
from erde_nas.searchers.gaussian_process import Basis, bases, fit
from erde_nas.searchers.interface import Parameters, Params, SearchSpace, Seen
from erde_nas.searchers.memory import Memory, best, violation
from erde_nas.searchers.scalarise import losses, random_weights

CHILDREN = 48  # of the best trials, among which one is chosen
OTHERS = 24  # random candidates beside them
POINTS = 128  # that the processes are fitted to: the best, and the latest
Floats = NDArray[np.float64]


class Strategy:
    """Random until `population` trials are complete, whose best `population` are then the parents."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._parameters, self._variation, self._population = space.parameters, variation_of(space), population
        self._features = features(space.parameters)
        self._memory = Memory()

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        generator, trials = np.random.default_rng(seed), self._memory.trials
        if len(trials) < self._population:
            return Proposal(random_params(self._parameters, generator))
        parents = [trials[index].params for index in best(trials, self._population)]
        pool = [breed(parents, self._variation, generator, seen) for _ in range(CHILDREN)]
        pool += [random_params(self._parameters, generator) for _ in range(OTHERS)]
        unseen = [params for params in pool if not seen(params)] or pool
        chosen = {*best(trials, POINTS // 2), *range(max(0, len(trials) - POINTS // 2), len(trials))}
        return Proposal(self._choose(unseen, [trials[index] for index in sorted(chosen)], generator))

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        self._memory.tell(trial)

    def _choose(
        self, pool: list[dict[str, Choice]], trials: Sequence[Trial], generator: np.random.Generator
    ) -> dict[str, Choice]:
        """The most promising of `pool`."""
        told, asked = (self._points(params) for params in ([trial.params for trial in trials], pool))
        known = bases(told)
        values = np.array([trial.objectives for trial in trials])
        drawn = np.stack([draw(known, column, asked, generator) for column in values.T], axis=1)  # (pool, objectives)
        allowed = np.ones(len(pool), dtype=bool)
        if any(violation(trial) for trial in trials):
            excess = draw(known, np.array([max(trial.constraints, default=0.0) for trial in trials]), asked, generator)
            allowed = excess <= max(0.0, float(excess.min()))
        feasible = np.array([violation(trial) == 0 for trial in trials])
        gain = gains(drawn, values[feasible] if feasible.any() else values)
        if not (gain[allowed] > 0).any():
            gain = -losses(drawn, [()] * len(pool), random_weights(drawn.shape[1], generator))
        return pool[int(np.where(allowed, gain, -np.inf).argmax())]

    def _points(self, candidates: Sequence[Params]) -> Floats:
        """Candidates as points (n, features) between which distances mean something."""
        return np.array([self._vector(self._variation.canonical(params)) for params in candidates])

    def _vector(self, params: Params) -> list[float]:
        return [value for name, of in self._features.items() for value in of[params[name]]]


def features(parameters: Parameters) -> dict[str, dict[Choice, list[float]]]:
    """What stands for each choice: numbers by their order in [0, 1], names as a corner each.

    Two names are as far apart as the ends of a row of numbers.
    """
    found: dict[str, dict[Choice, list[float]]] = {}
    for name, choices in parameters.items():
        if any(isinstance(choice, str) for choice in choices):
            found[name] = {choice: [np.sqrt(0.5) * (choice == other) for other in choices] for choice in choices}
        else:
            ordered = sorted(choices, key=float)
            found[name] = {choice: [at / max(1, len(choices) - 1)] for at, choice in enumerate(ordered)}
    return found


def draw(told: Sequence[Basis], values: Floats, asked: Floats, generator: np.random.Generator) -> Floats:
    """Values (k,) at `asked` of one function drawn from the posterior of `values` (n,) at the `told` points.

    Positive values are modelled as logarithms: costs and errors are nearer to products of the choices than to sums.
    """
    positive = bool((values > 0).all())
    modelled = np.log(values) if positive else values
    mean, spread = modelled.mean(), modelled.std() or 1.0
    drawn = mean + spread * fit(told, (modelled - mean) / spread).draw(asked, generator)
    return np.exp(drawn.clip(-700, 700)) if positive else drawn


def gains(points: Floats, known: Floats) -> Floats:
    """Hypervolume (k,) that each of `points` (k, 2) alone adds to `known` (n, 2), below the known points' worst.

    Zeros for other than two objectives.
    """
    if points.shape[1] != 2:
        return np.zeros(len(points))
    reference = known.max(axis=0)
    front = np.unique(known[non_dominated(known)], axis=0)
    edges = np.concatenate([[-np.inf], front[:, 0], reference[:1]])
    heights = np.concatenate([reference[1:], front[:, 1]])  # of the room below the front, between neighbouring edges
    widths = (edges[1:] - np.maximum(edges[:-1], points[:, :1])).clip(0)  # (k, edges - 1)
    return (widths * (heights - points[:, 1:]).clip(0)).sum(axis=1)
