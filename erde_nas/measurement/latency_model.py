"""Predicts the latency of leaving at each exit from what was measured of other networks on the same device.

A run through the segments up to an exit takes the sum of what they take, and a segment the sum over its features
(`latency_features`) of what one of each costs, which is never negative: non-negative least squares (Lawson & Hanson,
scipy). Additive like the latency table of ProxylessNAS (Cai et al., ICLR 2019), but fitted, so that no operation has to
be measured by itself. The errors are relative, so that small networks count as much as large ones, and what is far off
counts less (Huber's weights), because brief measurements have outliers.

A prediction is no measurement: it has a type of its own, and nothing that is reported as a latency comes from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from erde_nas.rank_correlation import RankCorrelation, rank_correlation

FOLDS = 10
ROUNDS = 10  # of reweighting
HUBER = 0.03  # relative error beyond which an observation loses weight
PerExit = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class LatencyModel:
    """`coefficients` (features,): milliseconds per unit of each feature, none below 0."""

    coefficients: np.ndarray

    @staticmethod
    def fit(features: Sequence[np.ndarray], per_exit_ms: Sequence[PerExit]) -> "LatencyModel":
        """Learn from networks: of each (segments, features), and the milliseconds of leaving at each exit.

        Raises ValueError where the two do not match, or a latency is not above 0.
        """
        rows = np.concatenate([one.cumsum(0) for one in features])
        measured = np.concatenate([np.asarray(ms, float) for ms in per_exit_ms])
        if len(rows) != len(measured) or not (measured > 0).all():
            raise ValueError(
                f"every segment needs a latency above 0, but got {len(rows)} segments and latencies of "
                f"{len(measured)}, the least {measured.min():g}"
            )
        units = np.maximum(rows.max(0), 1e-12)  # so that all columns are of one size
        relative = rows / units / measured[:, None]
        weights = np.ones(len(rows))
        for _ in range(ROUNDS):
            root = np.sqrt(weights)
            solution, _ = nnls(relative * root[:, None], root)
            weights = HUBER / np.maximum(np.abs(relative @ solution - 1), HUBER)
        return LatencyModel(solution / units)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(segments, features) of one network -> (exits,) milliseconds of leaving at each exit."""
        return features.cumsum(0) @ self.coefficients


@dataclass(frozen=True)
class Validation:
    """How well networks are predicted by a model that was fitted without them.

    Errors are relative to what was measured: `median_error` over all exits of all `n` networks, `p95_error` is the 95th
    percentile over their first exits.
    """

    n: int
    median_error: float
    p95_error: float


def cross_predict(
    features: Sequence[np.ndarray], per_exit_ms: Sequence[PerExit], folds: int = FOLDS, seed: int = 0
) -> list[np.ndarray]:
    """Of each network the (exits,) milliseconds that a model predicts which was fitted to the other folds' networks."""
    shuffled = np.random.default_rng(seed).permutation(len(features))
    predicted: list[np.ndarray] = [np.empty(0)] * len(features)
    for fold in range(min(folds, len(shuffled))):
        left_out = set(shuffled[fold::folds])
        kept = [i for i in range(len(features)) if i not in left_out]
        model = LatencyModel.fit([features[i] for i in kept], [per_exit_ms[i] for i in kept])
        for i in left_out:
            predicted[i] = model.predict(features[i])
    return predicted


def judge(predicted: Sequence[PerExit], measured: Sequence[PerExit]) -> Validation:
    """Compare what was predicted of each network, (exits,) milliseconds, with what was measured."""
    errors = [np.abs(np.asarray(p) / np.asarray(m) - 1) for p, m in zip(predicted, measured, strict=True)]
    return Validation(
        n=len(errors),
        median_error=float(np.median(np.concatenate(errors))),
        p95_error=float(np.quantile([error[0] for error in errors], 0.95)),
    )


def order(predicted: Sequence[PerExit], measured: Sequence[PerExit]) -> RankCorrelation | None:
    """How alike the two order the networks by their last exits; None where that cannot be said."""
    return rank_correlation([p[-1] for p in predicted], [m[-1] for m in measured])
