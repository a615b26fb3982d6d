"""Means over seeds with 95 % intervals, and paired differences from a reference loss (Student's t, scipy)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and the half width of its 95 % interval (infinite for one seed)."""

    mean: float
    ci95: float
    n: int


@dataclass(frozen=True)
class Difference:
    """A loss minus the reference on the same seeds; `p` is that of the two-sided paired t-test (NaN below 2 seeds)."""

    mean: float
    ci95: float
    p: float
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of `values`, one per seed."""
    n = len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    return Estimate(float(np.mean(values)), half, n)


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """`values` minus `reference`, seed by seed."""
    differences = np.subtract(values, reference)
    found = estimate(differences.tolist())
    if found.n < 2 or np.ptp(differences) == 0:  # no spread: the test has nothing to divide by
        return Difference(found.mean, found.ci95, float("nan") if found.n < 2 or differences.any() else 1.0, found.n)
    return Difference(found.mean, found.ci95, float(stats.ttest_rel(values, reference).pvalue), found.n)
