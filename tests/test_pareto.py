"""Pareto maths against brute force over pairs, Monte Carlo and volumes worked out by hand."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from erde_nas.pareto import crowding_distance, hypervolume, non_dominated, ranks, select, select_curves

# Few distinct values, so that ties and duplicates abound; both zeros, infinities and NaN among them.
coarse = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, np.inf, -np.inf, np.nan])
tied_points = st.tuples(st.integers(0, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=coarse)
)
fine_points = st.tuples(st.integers(0, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.floats(-1e6, 1e6))
)


def dominates(a, b):
    """Straight from the definition."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def brute_non_dominated(points):
    valid = [not any(np.isnan(row)) for row in points]
    return [
        ok and not any(dominates(other, row) for other, fine in zip(points, valid, strict=True) if fine)
        for row, ok in zip(points, valid, strict=True)
    ]


def brute_ranks(points):
    """Peel one front after the other; what is left at the end holds a NaN."""
    result, rest, rank = [0] * len(points), list(range(len(points))), 0
    while rest and any(front := brute_non_dominated([points[i] for i in rest])):
        for index, on_front in zip(list(rest), front, strict=True):
            if on_front:
                result[index] = rank
                rest.remove(index)
        rank += 1
    for index in rest:
        result[index] = rank
    return result


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.one_of(tied_points, fine_points))
def test_front_and_ranks_follow_the_definition(points):
    assert non_dominated(points).tolist() == brute_non_dominated(points)
    assert ranks(points).tolist() == brute_ranks(points)


def test_equal_points_of_the_front_are_all_on_it():
    points = [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [2.0, 2.0], [1.0, np.nan]]
    assert non_dominated(points).tolist() == [True, True, True, False, False]
    assert ranks(points).tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("function", [non_dominated, ranks, crowding_distance])
def test_no_points_give_no_answer(function):
    assert function([]).shape == (0,)
    assert function(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("function", [non_dominated, ranks, crowding_distance])
def test_other_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"shape \(n, m\).*got \(3,\)"):
        function([1.0, 2.0, 3.0])


def test_the_arguments_stay_as_they_were():
    points = np.random.default_rng(0).integers(0, 4, (30, 3)).astype(float)
    before = points.copy()
    for function in (
        non_dominated,
        ranks,
        crowding_distance,
        lambda p: select(p, 5),
        lambda p: hypervolume(p, [4] * 3),
    ):
        function(points)
    assert np.array_equal(points, before)


@pytest.mark.parametrize("objectives", [2, 3])
def test_ten_thousand_points_take_well_below_a_second_even_if_all_are_on_the_front(objectives):
    directions = np.abs(np.random.default_rng(0).normal(size=(10_000, objectives)))
    points = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    start = time.process_time()
    assert non_dominated(points).all()
    assert time.process_time() - start < 1


def test_crowding_distance_by_hand():
    points = [[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]]
    # second point: (4 - 0) / 10 + (10 - 5) / 10; third point: (10 - 1) / 10 + (6 - 0) / 10
    assert crowding_distance(points).tolist() == pytest.approx([np.inf, 0.9, 1.5, np.inf])


def test_crowding_distance_ignores_an_objective_in_which_all_agree():
    points = np.array([[0.0, 7.0], [1.0, 7.0], [3.0, 7.0], [4.0, 7.0]])
    assert crowding_distance(points).tolist() == pytest.approx([np.inf, 0.75, 0.75, np.inf])
    assert crowding_distance(points[:1]).tolist() == [0.0]
    assert crowding_distance([[np.inf, 0.0], [np.inf, 1.0], [0.0, 3.0]]).tolist() == pytest.approx(
        [np.inf, 1.0, np.inf]
    )


def test_select_takes_fronts_in_order_and_the_loneliest_of_the_last():
    front = [[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]]
    behind = [[x + 11, y + 11] for x, y in front]
    points = behind[:2] + front + behind[2:]
    assert sorted(select(points, 3).tolist()) == [2, 4, 5]  # both ends and the lonelier of the middle
    assert sorted(select(points, 4).tolist()) == [2, 3, 4, 5]
    assert sorted(select(points, 6).tolist()) == [0, 2, 3, 4, 5, 7]
    assert sorted(select(points, 99).tolist()) == list(range(8))
    assert select(points, 0).tolist() == []
    with pytest.raises(ValueError, match="got -1"):
        select(points, -1)


def test_select_takes_rows_with_nan_last():
    assert select([[np.nan, 0.0], [5.0, 5.0], [1.0, 1.0]], 3).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([], [1.0, 1.0], 0.0),
        ([[2.0]], [5.0], 3.0),
        ([[4.0], [2.0], [9.0]], [5.0], 3.0),
        ([[0.0, 0.0]], [2.0, 3.0], 6.0),
        ([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]], [3.0, 3.0], 6.0),  # 3 + 2 + 1: a staircase of unit squares
        ([[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0], [2.0, 2.0]], [3.0, 3.0], 6.0),  # duplicate, dominated
        ([[0.0, 3.0], [4.0, 0.0], [np.nan, 0.0]], [3.0, 3.0], 0.0),  # on the edge, beyond it, not a point
        ([[0.0, 0.0, np.inf], [1.0, 1.0, 1.0]], [2.0, 2.0, 2.0], 1.0),
        ([[0.0, 0.0, -np.inf], [1.0, 1.0, 1.0]], [2.0, 2.0, 2.0], np.inf),
        ([[0.0, 0.0, 0.0]], [1.0, 2.0, 3.0], 6.0),
        ([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], [2.0, 2.0, 2.0], 5.0),  # 4 + 2 - 1
        ([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]], [2.0] * 4, 9.0),  # 8 + 2 - 1
    ],
)
def test_hypervolume_by_hand(points, reference, expected):
    assert hypervolume(points, reference) == pytest.approx(expected)


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_hypervolume_by_monte_carlo(objectives, seed):
    generator = np.random.default_rng((objectives, seed))
    points = generator.random((12, objectives)) * 1.3  # some beyond the reference
    darts = generator.random((40_000, objectives))
    hit = (points[:, None] <= darts).all(axis=2).any(axis=0)
    assert hypervolume(points, np.ones(objectives)) == pytest.approx(hit.mean(), abs=4 * 0.5 / np.sqrt(len(darts)))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5, 6])
def test_hypervolume_by_inclusion_and_exclusion(objectives):
    generator = np.random.default_rng(objectives)
    points = generator.integers(0, 5, (9, objectives)).astype(float)
    expected = 0.0
    for chosen in range(1, 2 ** len(points)):
        subset = points[[bool(chosen >> i & 1) for i in range(len(points))]]
        expected -= (-1) ** len(subset) * np.prod(5 - subset.max(axis=0))
    assert hypervolume(points, [5.0] * objectives) == pytest.approx(expected)


@pytest.mark.parametrize(("objectives", "cells"), [(2, 30), (4, 8), (6, 5)])
def test_hypervolume_by_counting_cells(objectives, cells):
    points = np.random.default_rng(objectives).integers(0, cells + 1, (60, objectives))
    dominated = np.zeros((cells,) * objectives, dtype=bool)
    for point in points:
        dominated[tuple(slice(low, None) for low in point)] = True
    assert hypervolume(points, [cells] * objectives) == pytest.approx(dominated.sum())


def test_a_front_of_many_objectives_takes_well_below_a_second():
    directions = np.abs(np.random.default_rng(0).normal(size=(100, 6)))
    points = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    start = time.process_time()
    assert 0 < hypervolume(points, np.ones(6)) < 1
    assert time.process_time() - start < 1


def test_hypervolume_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="got 2 and 3"):
        hypervolume([[1.0, 2.0]], [3.0, 3.0, 3.0])
    with pytest.raises(ValueError, match=r"finite values, but got \[inf, 1\.0\]"):
        hypervolume([[1.0, 2.0]], [np.inf, 1.0])


def greedy(curves, k):
    """`select_curves` by its definition."""
    points = np.concatenate(curves)
    low, span = points.min(0), np.ptp(points, axis=0)
    scaled = [(curve - low) / span for curve in curves]
    chosen, front, left = [], [], list(range(len(curves)))
    while left and len(chosen) < k:
        volume = hypervolume(np.concatenate(front), [1.1, 1.1]) if front else 0.0
        added = [hypervolume(np.concatenate([*front, scaled[i]]), [1.1, 1.1]) - volume for i in left]
        if max(added) <= 1e-9 and front:
            front = []
            continue
        best = left.pop(int(np.argmax(added)))
        chosen.append(best)
        front.append(scaled[best])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_curves_are_selected_by_what_they_add(seed):
    rng = np.random.default_rng(seed)
    curves = [rng.random((rng.integers(1, 5), 2)) * [1, 1e6] for _ in range(12)]
    for k in (0, 1, 5, 12, 20):
        assert select_curves(curves, k).tolist() == greedy(curves, k)


def test_one_that_does_what_two_others_do_comes_first_and_the_rest_begins_anew():
    all_of_it = [[0.1, 4.0], [0.3, 2.0], [0.5, 1.0]]
    curves = [[[0.1, 4.0]], [[0.5, 1.0]], all_of_it, [[0.6, 5.0]]]
    assert select_curves(curves, 1).tolist() == [2]
    chosen = select_curves(curves, 4).tolist()
    assert chosen[0] == 2
    assert set(chosen[1:3]) == {0, 1}, "they add nothing to it, but lead among the rest"


def test_curves_of_one_point_are_selected_as_points():
    points = np.random.default_rng(0).random((20, 3))
    assert select_curves(points[:, None], 7).tolist() == select(points, 7).tolist()
    assert select_curves([], 3).tolist() == []


def test_curves_with_holes_are_refused():
    with pytest.raises(ValueError, match="finite"):
        select_curves([[[0.1, np.nan], [0.2, 1.0]]], 1)
