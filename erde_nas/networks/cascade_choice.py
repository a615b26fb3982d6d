"""Which pairs of finished networks are worth joining: all of them, evaluated on the logits that are at hand.

A pair costs nothing to evaluate: its answers are those of its networks, its cost is the sum of theirs. So all pairs are
tried, in both orders, with and without averaged answers, at every combination of a grid of thresholds; and of thousands
of points on one validation split the luckiest look good. What is kept must therefore be better than what there is by
half a standard error of its accuracy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.networks.cascade import cascade_costs, cascade_logits
from erde_nas.networks.operating_points import OperatingPoint, operating_curve
from erde_nas.pareto import hypervolume, non_dominated

LEAST_SHARE = 0.02  # of the images in either network: with fewer, a pair is its other network
SHARES = (0.0, 0.25, 0.5)  # of the first network in averaged answers; none is the best for every pair
MARGIN = 0.5  # standard errors of a pair's accuracy


@dataclass(frozen=True)
class Member:
    """A finished network: its logits on validation (exits, n, classes), its cost per exit."""

    name: str
    logits: np.ndarray
    costs: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """Two networks by name, and the operating points for whose sake they are joined, by rising cost."""

    first: str
    second: str
    averaged: float  # share of the first network's answer in those of the second
    points: tuple[OperatingPoint, ...]


def promising(
    members: Sequence[Member],
    known: Sequence[OperatingPoint],
    labels: np.ndarray,
    rule: ExitRule = ENTROPY,
    most: int = 4,
) -> list[Pair]:
    """At most `most` pairs that add to the front of what is `known`, the one that adds most first.

    Each is chosen by the area that its points add, in error and the logarithm of the cost, to what is known and chosen
    already. Of two names at most one pair is made, averaged in one way. Labels are (n,); costs are above 0.
    """
    front, left, chosen = _front(known), list(all_pairs(members, labels, rule)), list[Pair]()
    while len(chosen) < most:
        left = [replace(pair, points=_better(pair.points, front, len(labels))) for pair in left]
        left = [pair for pair in left if pair.points]
        if not left:
            break
        dearest = max(point.cost for point in (*front, *(point for pair in left for point in pair.points)))
        best = max(left, key=lambda pair: dominated_area([*front, *pair.points], dearest))
        chosen.append(best)
        front = _front([*front, *best.points])
        left = [pair for pair in left if (pair.first, pair.second) != (best.first, best.second)]
    return chosen


def few(points: Sequence[OperatingPoint], known: Sequence[OperatingPoint], most: int) -> tuple[OperatingPoint, ...]:
    """At most `most` of the points, those that add most to the front of what is `known`; one at least. By cost."""
    front, left, chosen = _front(known), list(points), list[OperatingPoint]()
    dearest = max(point.cost for point in (*points, *known))
    while left and len(chosen) < most:
        best = max(left, key=lambda point: dominated_area([*front, point], dearest))
        if chosen and dominated_area([*front, best], dearest) <= dominated_area(front, dearest):
            break
        chosen.append(best)
        front.append(best)
        left.remove(best)
    return tuple(sorted(chosen, key=lambda point: point.cost))


def all_pairs(members: Sequence[Member], labels: np.ndarray, rule: ExitRule = ENTROPY) -> Iterator[Pair]:
    """Every pair that may be of use, with its whole curve: the first can answer for less than the second costs."""
    for first in members:
        for second in members:
            if first.name == second.name or first.costs[0] >= second.costs[-1]:
                continue
            costs, exits = cascade_costs(first.costs, second.costs), len(first.costs)
            for averaged in SHARES:
                logits = cascade_logits(first.logits, second.logits, averaged)
                curve = operating_curve(logits, labels, costs, rule)
                used = [p for p in curve if LEAST_SHARE <= sum(p.exit_fractions[:exits]) <= 1 - LEAST_SHARE]
                yield Pair(first.name, second.name, averaged, tuple(used))


def _better(
    points: Sequence[OperatingPoint], front: Sequence[OperatingPoint], images: int
) -> tuple[OperatingPoint, ...]:
    """Those for which nothing on the front would be as good at their cost, were they worse by the margin."""
    ordered = sorted(front, key=lambda point: point.cost)
    reached = np.maximum.accumulate([0.0, *(point.accuracy for point in ordered)])
    accuracy, cost = np.array([(point.accuracy, point.cost) for point in points]).reshape(-1, 2).T
    at_that_cost = reached[np.searchsorted([point.cost for point in ordered], cost, side="right")]
    margin = MARGIN * np.sqrt(accuracy * (1 - accuracy) / images)
    return tuple(p for p, better in zip(points, accuracy - margin > at_that_cost, strict=True) if better)


def _front(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    keep = non_dominated(np.array([(1 - point.accuracy, point.cost) for point in points]).reshape(-1, 2))
    return [point for point, kept in zip(points, keep, strict=True) if kept]


def dominated_area(points: Sequence[OperatingPoint], dearest: float) -> float:
    """Below an error of 1 and a cost a tenth above the dearest, so that every point adds something."""
    rows = [(1 - point.accuracy, np.log(point.cost)) for point in points]
    return hypervolume(rows, np.array([1.0, np.log(1.1 * dearest)]))
