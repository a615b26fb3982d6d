"""Which exits of a frozen network are worth having: sets of trained heads, judged by their curves on validation.

A set costs nothing to evaluate: the logits of every head and of the network itself are at hand, and what leaving at an
exit costs is the sum of what is run until then. Sets grow one exit at a time from the best ones found so far (a beam),
since all of them would be thousands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.networks.cascade_choice import dominated_area
from erde_nas.networks.operating_points import OperatingPoint, operating_curve

BEAM = 4
SLACK = 1e-9


@dataclass(frozen=True)
class ExitCandidate:
    """A trained head at place number `place`: its logits on validation (n, classes), what it and its rule cost."""

    place: int
    kind: str
    logits: np.ndarray
    cost: float


@dataclass(frozen=True)
class ExitSet:
    """Candidates by number, shallowest first, and the operating points that they give."""

    exits: tuple[int, ...]
    curve: tuple[OperatingPoint, ...]

    def cheapest(self, floor: float) -> float:
        """The cost of the cheapest point that is as accurate as `floor`; infinite where there is none."""
        return min((point.cost for point in self.curve if point.accuracy >= floor - SLACK), default=float("inf"))


@dataclass(frozen=True)
class FrozenNetwork:
    """What the network itself answers on validation, logits (n, classes), beside the labels (n,), and `body`: what it
    costs up to each place and, last, as a whole."""

    logits: np.ndarray
    labels: np.ndarray
    body: tuple[float, ...]


def choose_exits(
    candidates: Sequence[ExitCandidate],
    own: FrozenNetwork,
    floor: float,
    *,
    most_exits: int = 3,
    most_sets: int = 3,
    rule: ExitRule = ENTROPY,
) -> list[ExitSet]:
    """At most `most_sets` sets of early exits, the one first whose cheapest point with an accuracy of `floor` is the
    cheapest; the last of several is the one with the best curve as a whole.

    A set that is not cheaper than the whole network is none.
    """
    body = own.body

    def judged(exits: tuple[int, ...]) -> ExitSet:
        logits = np.stack([*(candidates[number].logits for number in exits), own.logits])
        costs = costs_of([candidates[number] for number in exits], body)
        return ExitSet(exits, tuple(operating_curve(logits, own.labels, costs, rule)))

    found: dict[tuple[int, ...], ExitSet] = {}
    grown: Iterable[tuple[int, ...]] = [(number,) for number in range(len(candidates))]
    for _ in range(most_exits):
        fresh = {exits: judged(exits) for exits in grown if exits not in found}
        found |= fresh
        best = sorted(fresh.values(), key=lambda one: one.cheapest(floor))[:BEAM]
        best += sorted(fresh.values(), key=lambda one: _area(one, body[-1]), reverse=True)[:1]
        grown = {exits for one in best for exits in _grown(one.exits, candidates)}
    cheaper = [one for one in found.values() if one.cheapest(floor) < body[-1]]
    ranked = sorted(cheaper, key=lambda one: one.cheapest(floor))
    chosen = ranked[: max(1, most_sets - 1)]
    rest = sorted(ranked[len(chosen) :], key=lambda one: _area(one, body[-1]), reverse=True)
    return [*chosen, *rest[: most_sets - len(chosen)]]


def costs_of(exits: Sequence[ExitCandidate], body: Sequence[float]) -> tuple[float, ...]:
    """What leaving at each of the exits costs, and at the network's own end."""
    heads = np.cumsum([exit_.cost for exit_ in exits])
    early = [body[exit_.place] + head for exit_, head in zip(exits, heads, strict=True)]
    return (*map(float, early), float(body[-1] + heads[-1]))


def _grown(exits: tuple[int, ...], candidates: Sequence[ExitCandidate]) -> list[tuple[int, ...]]:
    """The sets with one exit more, at a place that has none."""
    taken = {candidates[number].place for number in exits}
    more = [number for number, candidate in enumerate(candidates) if candidate.place not in taken]
    return [tuple(sorted((*exits, number), key=lambda n: candidates[n].place)) for number in more]


def _area(one: ExitSet, dearest: float) -> float:
    return dominated_area(one.curve, 2 * dearest)
