"""What a profile may name as the cost by which students are judged, and what to expect of it before it is measured."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Objective = Literal["mean", "p50", "p95", "p99", "energy"]
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TEXTS = {"energy": "energy"} | {name: f"{name} latency" for name in ("mean", *QUANTILES)}


def expected_cost(fractions: Any, costs: Sequence[float], objective: str = "mean") -> np.ndarray:
    """Shares per exit (..., exits) and the cost of leaving at each (exits,) -> what an objective expects (...): the
    mean, which stands for energy as well, or the cost that the objective's share of the images keeps to."""
    shares, each = np.asarray(fractions, float), np.asarray(costs, float)
    if objective not in QUANTILES:
        return np.asarray((shares * each).sum(-1))
    order = each.argsort()
    reached = np.cumsum(shares[..., order], -1) >= QUANTILES[objective] - 1e-9
    return np.asarray(each[order][reached.argmax(-1)])
