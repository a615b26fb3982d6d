"""The exit rule's operating points against loops over images and over all thresholds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from erde_nas.device.exit_rules import exit_rule
from erde_nas.networks.operating_points import (
    COMBINATIONS,
    OperatingPoint,
    cheapest_within,
    entropies,
    exit_indices,
    operate,
    operating_curve,
    spread,
)

COSTS = (1.0, 2.5, 6.0)


def cohort(images, exits=3, classes=4, seed=0):
    """Logits (exits, images, classes) that are surer and better at later exits, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    sureness = rng.uniform(0, 2, (exits, images, 1)) * np.arange(1, exits + 1)[:, None, None]
    logits = rng.normal(0, 1, (exits, images, classes)) + sureness * np.eye(classes)[labels]
    return logits.astype(np.float32), labels


def by_loop(logits, labels, costs, thresholds):
    """Accuracy and mean cost, image by image."""
    right, cost, taken = 0, 0.0, []
    entropy = scipy_entropy(np.exp(logits.astype(float)), axis=-1)
    for image in range(len(labels)):
        for number in range(len(logits)):
            if number == len(logits) - 1 or entropy[number, image] < thresholds[number]:
                right += int(logits[number, image].argmax() == labels[image])
                cost += costs[number]
                taken.append(number)
                break
    return right / len(labels), cost / len(labels), taken


def test_entropies_are_those_of_scipy():
    logits = np.random.default_rng(0).normal(0, 10, (2, 30, 5)).astype(np.float32)
    expected = scipy_entropy(np.exp(logits.astype(float)), axis=-1)
    np.testing.assert_allclose(entropies(logits), expected, atol=1e-12)


def test_entropy_of_certainty_and_of_ignorance():
    np.testing.assert_allclose(entropies(np.array([[1e4, 0.0, -1e4], [7.0, 7.0, 7.0]])), [0, math.log(3)], atol=1e-12)


def test_two_exits_by_hand():
    sure, unsure = [4.0, 0.0], [0.5, 0.0]
    logits = np.array([[sure, unsure, sure, unsure], [[0.0, 4.0]] * 4])  # exit 0 says class 0, exit 1 says class 1
    labels = np.array([0, 1, 1, 1])
    point = operate(logits, labels, [10, 30], [0.3])
    assert point == OperatingPoint((0.3,), (0.5, 0.5), accuracy=3 / 4, cost=20.0)
    assert operate(logits, labels, [10, 30], [0.0]) == OperatingPoint((0.0,), (0.0, 1.0), 3 / 4, 30.0)
    assert operate(logits, labels, [10, 30], [1.0]) == OperatingPoint((1.0,), (1.0, 0.0), 1 / 4, 10.0)
    curve = operating_curve(logits, labels, [10, 30])
    assert [(p.accuracy, p.cost) for p in curve] == [(1 / 4, 10.0), (3 / 4, 20.0)]  # 30.0 is no more accurate


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(
        lambda shape: st.tuples(
            arrays(float, shape, elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])),
            st.lists(st.sampled_from([0.0, 0.5, 0.7, 2.0, math.inf]), min_size=shape[0] - 1, max_size=shape[0] - 1),
        )
    )
)
def test_exit_is_the_first_whose_entropy_is_below_its_threshold(case):
    entropy, thresholds = case
    expected = [
        next((i for i, threshold in enumerate(thresholds) if column[i] < threshold), len(thresholds))
        for column in entropy.T
    ]
    assert exit_indices(entropy, thresholds).tolist() == expected


@pytest.mark.parametrize("thresholds", [(0.4, 0.8), (0.0, 0.5), (2.0, 0.0), (0.0, 0.0)])
def test_operating_point_is_that_of_a_loop(thresholds):
    logits, labels = cohort(60)
    point = operate(logits, labels, COSTS, thresholds)
    accuracy, cost, taken = by_loop(logits, labels, COSTS, thresholds)
    assert point.accuracy == accuracy
    assert point.cost == pytest.approx(cost)
    assert point.exit_fractions == tuple(taken.count(i) / 60 for i in range(3))
    assert point.thresholds == thresholds


@pytest.mark.parametrize("seed", range(4))
def test_curve_is_the_front_over_all_pairs_of_thresholds(seed):
    logits, labels = cohort(12, seed=seed)
    entropy = entropies(logits)
    grids = [[0.0, *(np.sort(e) + 1e-9)] for e in entropy[:-1]]  # one threshold per set of images that leave
    assert len(grids[0]) * len(grids[1]) <= COMBINATIONS
    every = {(a, round(c, 9)) for a, c, _ in (by_loop(logits, labels, COSTS, t) for t in itertools.product(*grids))}
    front = {
        (a, c) for a, c in every if not any(x >= a and y <= c and (x, y) != (a, c) for x, y in every)
    }  # fmt: skip
    curve = operating_curve(logits, labels, COSTS)
    assert {(p.accuracy, round(p.cost, 9)) for p in curve} == front
    assert [p.cost for p in curve] == sorted(p.cost for p in curve)
    assert len(curve) == len(front)
    for point in curve:
        assert point == operate(logits, labels, COSTS, point.thresholds)


@pytest.mark.parametrize("name", ["max-prob", "margin"])
@pytest.mark.parametrize("seed", range(2))
def test_curve_of_another_rule_is_the_front_by_that_rule(name, seed):
    logits, labels = cohort(12, seed=seed)
    p = np.sort(softmax(logits.astype(float), -1), -1)
    score = {"max-prob": 1 - p[..., -1], "margin": 1 - p[..., -1] + p[..., -2]}[name]
    grids = [[0.0, *(np.sort(s) + 1e-9)] for s in score[:-1]]
    every = set()
    for levels in itertools.product(*grids):
        taken = [next((i for i, t in enumerate(levels) if score[i, n] < t), 2) for n in range(12)]
        right = sum(logits[exit_, n].argmax() == labels[n] for n, exit_ in enumerate(taken))
        every.add((right / 12, round(sum(COSTS[exit_] for exit_ in taken) / 12, 9)))
    front = {
        (a, c) for a, c in every if not any(x >= a and y <= c and (x, y) != (a, c) for x, y in every)
    }  # fmt: skip
    rule = exit_rule(name)
    curve = operating_curve(logits, labels, COSTS, rule)
    assert {(point.accuracy, round(point.cost, 9)) for point in curve} == front
    assert all(point == operate(logits, labels, COSTS, point.thresholds, rule) for point in curve)
    assert curve != operating_curve(logits, labels, COSTS)


@pytest.mark.parametrize("exits", [1, 2, 3, 5])
def test_curve_of_any_number_of_exits_reaches_from_the_first_to_the_best(exits):
    logits, labels = cohort(200, exits)
    costs = [float(i + 1) for i in range(exits)]
    curve = operating_curve(logits, labels, costs)
    assert curve[0].cost == 1.0  # everybody leaves at once
    assert curve[0].exit_fractions == (1.0, *[0.0] * (exits - 1))
    assert curve[-1].accuracy >= (logits[-1].argmax(-1) == labels).mean()
    for point in curve:
        assert len(point.thresholds) == exits - 1
        assert sum(point.exit_fractions) == pytest.approx(1)
        assert point == operate(logits, labels, costs, point.thresholds)
    accuracies = [p.accuracy for p in curve]
    assert accuracies == sorted(set(accuracies))


CURVE = [
    OperatingPoint((t,), (t, 1 - t), accuracy, cost)
    for t, accuracy, cost in [(0.9, 0.70, 1.0), (0.5, 0.88, 2.0), (0.3, 0.895, 3.0), (0.1, 0.90, 5.0)]
]


@pytest.mark.parametrize(
    ("tolerance", "cost"), [(0.0, 5.0), (0.004, 5.0), (0.005, 3.0), (0.02, 2.0), (0.19, 2.0), (0.2, 1.0)]
)
def test_cheapest_point_within_a_tolerance_of_the_best(tolerance, cost):
    assert cheapest_within(CURVE, tolerance).cost == cost


@pytest.mark.parametrize(("count", "costs"), [(1, [3.0]), (2, [3.0, 5.0]), (3, [2.0, 3.0, 5.0]), (4, [2.0, 3.0, 5.0])])
def test_spread_of_points_worth_measuring(count, costs):
    assert [point.cost for point in spread(CURVE, 0.01, count)] == costs


def test_spread_of_a_student_without_exits_is_one_point():
    point = OperatingPoint((), (1.0,), 0.9, 4.0)
    assert spread([point], 0.01, 3) == [point]
