"""Augmented Chebyshev against numbers worked out by hand."""

import numpy as np
import pytest

from erde_nas.searching.searchers.scalarise import losses, random_weights

OBJECTIVES = np.array([[0.0, 300.0], [10.0, 100.0], [5.0, 200.0]])  # scaled: (0, 1), (1, 0), (0.5, 0.5)
FREE: list[tuple[float, ...]] = [(), (), ()]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.5, 0.5], [0.5 + 0.05 * 0.5, 0.5 + 0.05 * 0.5, 0.25 + 0.05 * 0.5]),
        ([0.8, 0.2], [0.2 + 0.05 * 0.2, 0.8 + 0.05 * 0.8, 0.4 + 0.05 * 0.5]),
        ([1.0, 0.0], [0.0, 1.05, 0.5 + 0.05 * 0.5]),
    ],
)
def test_losses_by_hand(weights, expected):
    assert losses(OBJECTIVES, FREE, np.array(weights)).tolist() == pytest.approx(expected)


def test_an_infeasible_trial_is_worse_than_any_feasible_one_and_the_range_ignores_it():
    objectives = np.vstack([OBJECTIVES, [[-1e9, -1e9], [-1e9, -1e9]]])
    constraints = [(-1.0, 0.0), (0.0, -3.0), (), (0.25, -9.0), (1e-12, 0.125)]
    result = losses(objectives, constraints, np.array([0.5, 0.5]))
    assert result[:3].tolist() == losses(OBJECTIVES, FREE, np.array([0.5, 0.5])).tolist()
    assert result[3:].tolist() == pytest.approx([2.25, 2.125])


def test_an_objective_without_a_range_and_no_trials_at_all():
    assert losses(np.array([[3.0, 1.0], [3.0, 2.0]]), [(), ()], np.array([0.5, 0.5])).tolist() == [0.0, 0.525]
    assert losses(np.empty((0, 2)), [], np.array([0.5, 0.5])).shape == (0,)


def test_weights_cover_the_simplex():
    generator = np.random.default_rng(0)
    weights = np.array([random_weights(2, generator) for _ in range(2000)])
    assert weights.sum(axis=1) == pytest.approx(np.ones(2000))
    assert np.histogram(weights[:, 0], bins=4, range=(0, 1))[0].min() > 430  # even: 500 in each quarter
