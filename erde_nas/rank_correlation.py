"""How alike two measurements order the same candidates: Kendall's tau-b with a bootstrap interval (scipy)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 1000
LEAST = 3  # candidates: of two there is but one order to agree on
PAIRED = 100  # candidates at most whose pairs are all held in memory, for all resamples


@dataclass(frozen=True)
class RankCorrelation:
    """tau-b of `n` candidates, 1 for the same order and -1 for the reverse, and its 95 % interval."""

    tau: float
    low: float
    high: float
    n: int


def rank_correlation(first: Sequence[float], second: Sequence[float], seed: int = 0) -> RankCorrelation | None:
    """tau-b of paired values (Kendall 1945), and percentiles of it over resampled candidates.

    Pairs with a value that is not finite are left out. None where fewer than 3 are left, or where all of one side are
    equal. A resample whose values are all equal has no tau and is left out.
    """
    pairs = np.array([pair for pair in zip(first, second, strict=True) if np.isfinite(pair).all()]).reshape(-1, 2)
    if len(pairs) < LEAST or (np.ptp(pairs, axis=0) == 0).any():
        return None
    draws = np.random.default_rng(seed).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    taus = _resampled(pairs, draws)
    low, high = np.quantile(taus[np.isfinite(taus)], [0.025, 0.975])
    tau = float(stats.kendalltau(pairs[:, 0], pairs[:, 1]).statistic)
    return RankCorrelation(tau, float(low), float(high), len(pairs))


def _resampled(pairs: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """tau-b (resamples,) of the rows that `draws` (resamples, n) chooses from `pairs` (n, 2); NaN where a resample has
    no order. All at once, unless there are many: scipy takes one call for each, seconds for an interval."""
    if len(pairs) > PAIRED:
        return np.array([stats.kendalltau(*pairs[draw].T).statistic for draw in draws])
    signs = np.sign(pairs[:, None] - pairs[None])  # (n, n, 2): which of two candidates is ahead
    drawn = signs[draws[:, :, None], draws[:, None, :]]  # (resamples, n, n, 2)
    agreeing = drawn.prod(-1).sum((1, 2))
    untied = np.square(drawn).sum((1, 2)).prod(-1)
    return np.divide(agreeing, np.sqrt(untied), out=np.full(len(draws), np.nan), where=untied > 0)
