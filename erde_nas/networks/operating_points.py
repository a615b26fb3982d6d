"""An exit rule's operating points: thresholds chosen after training, on the validation split, at no training cost.

One trained student gives a whole curve of (error, expected cost): every combination of a grid of thresholds per exit is
evaluated on the cached logits, and the non-dominated ones are kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erde_nas.device.exit_rules import ENTROPY, ExitRule, entropy
from erde_nas.errors import UserError
from erde_nas.pareto import non_dominated
from erde_nas.report_data.objectives import expected_cost

COMBINATIONS = 1024  # more would fit the validation split's noise
FOLDS = 5  # of the images that a rule is fitted to


@dataclass(frozen=True)
class OperatingPoint:
    """Thresholds (one per exit but the last) and what they give. `cost` is in the unit of the costs given."""

    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    accuracy: float
    cost: float


def entropies(logits: np.ndarray) -> np.ndarray:
    """Entropy in nats of softmax over the last axis: (..., classes) -> (...), in float64."""
    return entropy(logits.astype(np.float64))


def accuracy_per_exit(logits: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """The share of the images that each exit is right on: logits (exits, n, classes), labels (n,)."""
    return tuple(float(share) for share in (logits.argmax(-1) == labels).mean(1))


def best_accuracy(logits: np.ndarray, labels: np.ndarray, rule: ExitRule = ENTROPY) -> float:
    """At the most accurate thresholds: logits (exits, n, classes), labels (n,)."""
    return max(point.accuracy for point in operating_curve(logits, labels, range(1, len(logits) + 1), rule))


def scores(rule: ExitRule, logits: np.ndarray) -> np.ndarray:
    """Logits (exits, n, classes) -> the rule's score at every exit but the last (exits - 1, n), in float64.

    Raises UserError for scores that no threshold can be found for: the rule is wrong.
    """
    exits, count, _ = logits.shape
    precise = logits.astype(np.float64)
    found = [rule.score(list(precise[: number + 1])) for number in range(exits - 1)]
    for number, score in enumerate(found):
        if score.shape != (count,) or (score < 0).any():
            least = f"one as low as {score.min():.3g}" if score.size else "none"
            raise UserError(
                f"the exit rule '{rule.name}' must give {count} scores of at least 0 at exit {number}, but gives "
                f"{score.shape} with {least}; correct the rule, or choose another with exit_rule"
            )
    return np.reshape(found, (exits - 1, count))


def held_out_scores(rule: ExitRule, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """As `scores`; those of a rule that is still to be fitted come from as many rules as there are folds, each fitted
    without the images that it scores (cross-fitting): what thresholds promise on them holds for new images, too."""
    if rule.fitting is None or rule.parameters:
        return scores(rule, logits)
    fold = np.arange(len(labels)) % FOLDS
    found = np.empty((len(logits) - 1, len(labels)))
    for number in range(FOLDS):
        own = fold == number
        found[:, own] = scores(rule.fitted(logits[:, ~own], labels[~own]), logits[:, own])
    return found


def exit_indices(score: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """The exit (n,) at which each image leaves: score is (exits, n) or (exits - 1, n), thresholds one per exit but the
    last, which answers always."""
    leaves = score[: len(thresholds)] < np.reshape(thresholds, (-1, 1))
    return np.vstack([leaves, np.ones((1, leaves.shape[1]), bool)]).argmax(0)


def operate(
    logits: np.ndarray,
    labels: np.ndarray,
    costs: Sequence[float],
    thresholds: Sequence[float],
    rule: ExitRule = ENTROPY,
) -> OperatingPoint:
    """Logits (exits, n, classes), labels (n,), cost per exit -> the operating point of `thresholds`, at its mean."""
    taken = exit_indices(scores(rule, logits), thresholds)
    correct = logits.argmax(-1) == labels  # (exits, n)
    return _point(taken, correct, np.asarray(costs, float), tuple(float(t) for t in thresholds))


def _point(taken: np.ndarray, correct: np.ndarray, costs: np.ndarray, thresholds: tuple[float, ...]) -> OperatingPoint:
    fractions = np.bincount(taken, minlength=len(costs)) / len(taken)
    accuracy = correct[taken, np.arange(len(taken))].mean()
    return OperatingPoint(
        thresholds, tuple(float(f) for f in fractions), float(accuracy), float((fractions * costs).sum())
    )


def operating_curve(
    logits: np.ndarray,
    labels: np.ndarray,
    costs: Sequence[float],
    rule: ExitRule = ENTROPY,
    objective: str = "mean",
) -> list[OperatingPoint]:
    """The non-dominated operating points by rising cost, which is that of a profile's `objective`; equal ones once.

    Thresholds lie halfway between neighbouring scores seen at the exit, at evenly spaced quantiles, or are 0 (nobody
    leaves). Logits (exits, n, classes), labels (n,), cost per exit. Of a rule that is still to be fitted, the points
    are those of `rule.fitted(logits, labels)`, judged by `held_out_scores`.
    """
    score = held_out_scores(rule, logits, labels)
    correct = logits.argmax(-1) == labels
    exits = len(logits)
    levels = max(2, math.floor(COMBINATIONS ** (1 / max(1, exits - 1)) + 1e-9))
    grids = [_grid(score[i], levels, rule.resolution) for i in range(exits - 1)]
    leaving, right = _routed(score, correct, grids)
    accuracy, fractions = right.sum(-1) / len(labels), leaving / len(labels)
    cost = expected_cost(fractions, costs, objective)
    unique: dict[tuple[float, float], OperatingPoint] = {}
    for at in np.argwhere(non_dominated(np.stack([1 - accuracy, cost], -1).reshape(-1, 2)).reshape(cost.shape)):
        index = tuple(at)
        thresholds = tuple(grid[k] for grid, k in zip(grids, index, strict=True))
        found = (float(accuracy[index]), float(cost[index]))
        unique[found] = OperatingPoint(thresholds, tuple(fractions[index].tolist()), *found)
    return sorted(unique.values(), key=lambda p: p.cost)


def _routed(score: np.ndarray, correct: np.ndarray, grids: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """How many images leave at each exit, and how many of them are right, for every combination of thresholds.

    Score (exits - 1, n), correct (exits, n), a grid for each exit but the last -> (*lengths of the grids, exits) each.
    Images are counted once by the thresholds that let them out: everything else is sums of these counts.
    """
    shape = tuple(len(grid) + 1 for grid in grids)
    passed = [np.searchsorted(grid, score[i], side="right") for i, grid in enumerate(grids)]  # from here they leave
    cell = np.ravel_multi_index(passed, shape) if grids else np.zeros(correct.shape[1], int)
    leaving: list[np.ndarray] = []
    right: list[np.ndarray] = []
    for exit_, here in enumerate(correct):
        for counts, weights in ((leaving, None), (right, here)):
            summed = np.bincount(cell, weights, minlength=int(np.prod(shape))).reshape(shape)
            for axis in range(len(grids)):
                if axis < exit_:  # they stay: their first threshold lies above this one
                    summed = summed.sum(axis, keepdims=True) - summed.cumsum(axis)
                elif axis == exit_:
                    summed = summed.cumsum(axis)
                else:
                    summed = np.broadcast_to(summed.sum(axis, keepdims=True), summed.shape)
            counts.append(summed[tuple(slice(len(grid)) for grid in grids)])
    return np.stack(leaving, -1), np.stack(right, -1)


def _grid(score: np.ndarray, levels: int, resolution: float) -> tuple[float, ...]:
    """At most `levels` thresholds for one exit, from "nobody leaves" to "everybody leaves"."""
    seen = np.unique(np.round(score / resolution) * resolution if resolution else score)
    between = np.concatenate([[0.0], (seen[1:] + seen[:-1]) / 2, [seen[-1] + 1e-3]])
    chosen = np.unique(np.linspace(0, len(between) - 1, min(levels, len(between))).round().astype(int))
    return tuple(float(value) for value in between[chosen])


def cheapest_within(curve: Sequence[OperatingPoint], tolerance: float) -> OperatingPoint:
    """The cheapest point whose accuracy is within `tolerance` of the curve's best."""
    best = max(point.accuracy for point in curve)
    return min((point for point in curve if point.accuracy >= best - tolerance - 1e-12), key=lambda point: point.cost)


def spread(curve: Sequence[OperatingPoint], tolerance: float, count: int) -> list[OperatingPoint]:
    """Up to `count` points worth measuring: the cheapest within `tolerance`, the most accurate, then cheaper ones."""
    best = max(curve, key=lambda point: (point.accuracy, -point.cost))
    chosen = [cheapest_within(curve, tolerance), best]
    for step in range(1, count):
        chosen.append(cheapest_within(curve, tolerance * 2**step))
    unique = {point.thresholds: point for point in chosen}
    return sorted(list(unique.values())[:count], key=lambda point: point.cost)
