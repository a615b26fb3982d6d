"""Sets of exits against all sets, tried one by one."""

from itertools import combinations

import numpy as np
import pytest

from erde_nas.networks.exit_choice import ExitCandidate, FrozenNetwork, choose_exits, costs_of
from erde_nas.networks.operating_points import operating_curve

IMAGES, CLASSES, BODY = 400, 4, (1.0, 2.0, 3.0, 5.0)


def logits(skill: float, labels: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(labels), CLASSES))
    return noise + skill * np.eye(CLASSES)[labels]


@pytest.fixture(scope="module")
def frozen() -> FrozenNetwork:
    labels = np.random.default_rng(0).integers(0, CLASSES, IMAGES)
    return FrozenNetwork(logits(3.0, labels, 1), labels, BODY)


@pytest.fixture(scope="module")
def candidates(frozen: FrozenNetwork) -> list[ExitCandidate]:
    return [
        ExitCandidate(place, kind, logits(1.5 + 0.5 * place + better, frozen.labels, 10 * place + number), cost)
        for place in range(3)
        for number, (kind, better, cost) in enumerate([("gap", 0.0, 0.1), ("conv", 0.3, 0.4)])
    ]


def test_costs_are_those_of_all_that_runs(candidates: list[ExitCandidate]) -> None:
    assert costs_of([candidates[1], candidates[4]], BODY) == pytest.approx((1.0 + 0.4, 3.0 + 0.5, 5.0 + 0.5))


@pytest.mark.parametrize("drop", [0.0, 0.05])
def test_the_first_set_is_the_cheapest_of_all(
    candidates: list[ExitCandidate], frozen: FrozenNetwork, drop: float
) -> None:
    floor = float((frozen.logits.argmax(-1) == frozen.labels).mean()) - drop
    costs = {}
    for count in (1, 2, 3):
        for exits in combinations(range(len(candidates)), count):
            chosen = [candidates[number] for number in exits]
            if len({candidate.place for candidate in chosen}) < count:
                continue
            curve = operating_curve(
                np.stack([*(candidate.logits for candidate in chosen), frozen.logits]),
                frozen.labels,
                costs_of(chosen, BODY),
            )
            costs[exits] = min(point.cost for point in curve if point.accuracy >= floor - 1e-9)
    found = choose_exits(candidates, frozen, floor)
    assert found[0].cheapest(floor) == pytest.approx(min(costs.values()))
    assert found[0].cheapest(floor) < BODY[-1]
    assert len({one.exits for one in found}) == len(found) <= 3
    for one in found:
        best = min((point for point in one.curve if point.accuracy >= floor - 1e-9), key=lambda point: point.cost)
        assert best.cost == pytest.approx(one.cheapest(floor))


def test_useless_exits_are_not_attached(frozen: FrozenNetwork) -> None:
    guess = ExitCandidate(0, "gap", np.zeros((IMAGES, CLASSES)), 0.1)
    assert choose_exits([guess], frozen, float((frozen.logits.argmax(-1) == frozen.labels).mean())) == []
