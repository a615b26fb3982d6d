"""Evolution with a model: of many children the one is proposed from which a Gaussian process expects the most.

Every objective has a process over the choices and over what an architecture costs as far as that is known: error
and expected cost follow the MACs of the exits more than any single choice. The child is taken that is expected to add
the most hypervolume to the front so far (Emmerich et al. 2006, doi:10.1109/TEVC.2005.859463, by draws); with other
than two objectives, the one of most expected improvement under random weights (see `scalarise`). Where there are
constraints, only children count that should keep them, each by the probability that it does.
"""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from erde_nas.pareto import non_dominated
from erde_nas.searching.searchers.children import breed, random_params, variation_of
from erde_nas.searching.searchers.gaussian_process import Basis, bases, fit
from erde_nas.searching.searchers.interface import Seen
from erde_nas.searching.searchers.memory import Memory, best, violation
from erde_nas.searching.searchers.scalarise import losses, random_weights
from erde_nas.space.interface import CostedSpace, Parameters, Params, SearchSpace
from erde_nas.space.trial import Choice, Proposal, Trial

CHILDREN = 28  # of the best trials, among which one is chosen
OTHERS = 8  # random candidates beside them
POINTS = 96  # that the processes are fitted to: the best, and the latest
DRAWS = 32  # of the objectives, over which an expectation is the mean
COST_SPREAD = 0.8  # standard deviation of the logarithm of a cost, among features that lie in [0, 1]
REMEMBERED = 2048  # candidates whose features are kept
Floats = NDArray[np.float64]


class Strategy:
    """Random until `population` trials are complete, whose best `population` are then the parents."""

    def __init__(self, space: SearchSpace, *, objectives: int, population: int) -> None:
        self._parameters, self._variation, self._population = space.parameters, variation_of(space), population
        self._describe = Description(space)
        self._memory = Memory()

    def suggest(self, seed: int, seen: Seen) -> Proposal:
        """See `interface.Strategy`."""
        generator, trials = np.random.default_rng(seed), self._memory.trials
        if len(trials) < self._population:
            return Proposal(random_params(self._parameters, generator))
        leading = best(trials, max(self._population, POINTS // 2))
        parents = [trials[index].params for index in leading[: self._population]]
        pool = [breed(parents, self._variation, generator, lambda _: False) for _ in range(CHILDREN)]
        pool += [random_params(self._parameters, generator) for _ in range(OTHERS)]
        chosen = {*leading[: POINTS // 2], *range(max(0, len(trials) - POINTS // 2), len(trials))}
        with thread_pools().limit(limits=1):  # for work this small several threads only wait for each other
            ranked = self._rank(pool, [trials[index] for index in sorted(chosen)], generator)
        for params in ranked:  # to ask first which ones were seen takes longer than to rank them
            if not seen(params):
                return Proposal(params)
        return Proposal(breed(parents, self._variation, generator, seen))

    def tell(self, trial: Trial) -> None:
        """See `interface.Strategy`."""
        self._memory.tell(trial)

    def _rank(
        self, pool: list[dict[str, Choice]], trials: Sequence[Trial], generator: np.random.Generator
    ) -> list[dict[str, Choice]]:
        """`pool`, the most promising first."""
        points = self._describe([trial.params for trial in trials] + pool)
        told, asked = bases(points[: len(trials)]), points[len(trials) :]
        values = np.array([trial.objectives for trial in trials])
        normal = generator.standard_normal((DRAWS, values.shape[1]))
        draws = np.stack([foresee(told, *pair, asked) for pair in zip(values.T, normal.T, strict=True)], axis=-1)
        excess, likely = np.zeros(len(pool)), np.ones(len(pool))
        feasible = np.array([violation(trial) == 0 for trial in trials])
        if not feasible.all():
            largest = np.array([max(trial.constraints, default=0.0) for trial in trials])
            excess, deviation = predict(told, largest, asked)
            likely = ndtr(-excess / deviation)
        weights = random_weights(values.shape[1], generator)
        score = likely * expected_gains(draws, values[feasible] if feasible.any() else values, weights)
        allowed = excess <= max(0.0, float(excess.min()))  # much to gain does not make up for a limit
        if not (score[allowed] > 0).any():
            score = -losses(draws.mean(axis=0), [(value,) for value in excess], weights)
        return [pool[index] for index in np.lexsort((-score, ~allowed))]


class Description:
    """Candidates as points between which distances mean something: their choices, and what they are known to cost."""

    def __init__(self, space: SearchSpace) -> None:
        self._features, self._variation = features(space.parameters), variation_of(space)
        self._costs = space.costs if isinstance(space, CostedSpace) else lambda _: ()
        self._names = tuple(space.parameters)
        self._row = lru_cache(REMEMBERED)(self._describe)

    def __call__(self, candidates: Sequence[Params]) -> Floats:
        """Points (n, features); the costs vary alike in all of them, whatever their units."""
        rows = [self._row(tuple(params[name] for name in self._names)) for params in candidates]
        choices, costs = (np.array(part) for part in zip(*rows, strict=True))
        spread = costs.std(axis=0)
        costs = COST_SPREAD * (costs - costs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return np.concatenate([choices, costs], axis=1)

    def _describe(self, choices: tuple[Choice, ...]) -> tuple[list[float], list[float]]:
        params = self._variation.canonical(dict(zip(self._names, choices, strict=True)))
        known = [value for name, choice in params.items() for value in self._features[name][choice]]
        return known, np.log(self._costs(params)).tolist()


@cache
def thread_pools() -> ThreadpoolController:
    """Those of linear algebra and of PyTorch, which counts MACs; to look for them takes longer than the work."""
    return ThreadpoolController()


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


def predict(told: Sequence[Basis], values: Floats, asked: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation, (k,) each, at `asked` of what has `values` (n,) at the `told` points."""
    mean, spread = values.mean(), values.std() or 1.0
    expected, deviation = fit(told, (values - mean) / spread).at(asked)
    return mean + spread * expected, spread * deviation


def foresee(told: Sequence[Basis], values: Floats, normal: Floats, asked: Floats) -> Floats:
    """Values (draws, k) at `asked` of what has `values` (n,) at the `told` points; `normal` (draws,) says how far off.

    Positive values are modelled as logarithms: costs and errors are nearer to products of the choices than to sums.
    """
    positive = bool((values > 0).all())
    expected, deviation = predict(told, np.log(values) if positive else values, asked)
    drawn = expected + normal[:, None] * deviation
    return np.exp(drawn.clip(-700, 700)) if positive else drawn


def expected_gains(draws: Floats, known: Floats, weights: Floats) -> Floats:
    """What each candidate of `draws` (draws, k, m) is expected to add to `known` (n, m): (k,), at least 0.

    Hypervolume for two objectives, else improvement of the least loss under `weights` (m,).
    """
    flat = draws.reshape(-1, draws.shape[-1])  # (draws * k, m)
    if draws.shape[-1] == 2:
        found = gains(flat, known)
    else:
        judged = losses(np.concatenate([known, flat]), [()] * (len(known) + len(flat)), weights)
        found = (judged[: len(known)].min() - judged[len(known) :]).clip(0)
    return found.reshape(draws.shape[:2]).mean(axis=0)


def gains(points: Floats, known: Floats) -> Floats:
    """Hypervolume (k,) that each of `points` (k, 2) alone adds to `known` (n, 2), below the known points' worst."""
    reference = known.max(axis=0)
    front = np.unique(known[non_dominated(known)], axis=0)
    edges = np.concatenate([[-np.inf], front[:, 0], reference[:1]])
    heights = np.concatenate([reference[1:], front[:, 1]])  # of the room below the front, between neighbouring edges
    widths = (edges[1:] - np.maximum(edges[:-1], points[:, :1])).clip(0)  # (k, edges - 1)
    return (widths * (heights - points[:, 1:]).clip(0)).sum(axis=1)
