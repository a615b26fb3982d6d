"""Intervals and paired tests against the formulas in scipy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from erde_nas.comparison.statistics import estimate, paired_difference

VALUES, REFERENCE = [0.71, 0.74, 0.70, 0.76, 0.73], [0.70, 0.72, 0.71, 0.73, 0.70]


def test_the_interval_is_students() -> None:
    found = estimate(VALUES)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert (found.mean - found.ci95, found.mean + found.ci95) == pytest.approx((low, high))
    assert found.n == 5


def test_one_seed_has_no_interval() -> None:
    assert math.isinf(estimate([0.7]).ci95)
    assert math.isnan(paired_difference([0.7], [0.6]).p)


def test_the_paired_test_is_a_one_sample_test_of_the_differences() -> None:
    found = paired_difference(VALUES, REFERENCE)
    differences = np.array(VALUES) - REFERENCE
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert found.mean == pytest.approx(differences.mean())
    assert paired_difference(REFERENCE, VALUES).mean == pytest.approx(-found.mean)


def test_no_difference_at_all() -> None:
    assert paired_difference(VALUES, VALUES).p == 1.0
    shifted = paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    assert shifted.mean == 1.0
    assert math.isnan(shifted.p)  # no spread, so no test


def test_the_interval_holds_the_truth_in_95_of_100_cases() -> None:
    generator = np.random.default_rng(0)
    hits = sum(abs((e := estimate(generator.normal(0.3, 1, 5).tolist())).mean - 0.3) <= e.ci95 for _ in range(2000))
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)
