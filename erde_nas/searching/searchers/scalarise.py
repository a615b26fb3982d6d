"""Many objectives in one number, for strategies that know only one: augmented Chebyshev, as in ParEGO.

J. Knowles 2006, "ParEGO", doi:10.1109/TEVC.2005.851274, section III: for every proposal the weights are drawn anew and
all trials so far are judged by them, so that one single-objective strategy walks along the whole front.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AUGMENTATION = 0.05  # rho of Knowles 2006, eq. 2


def random_weights(objectives: int, generator: np.random.Generator) -> Floats:
    """Weights (objectives,) of sum 1, uniform over the simplex."""
    return generator.dirichlet(np.ones(objectives))


def losses(objectives: Floats, constraints: list[tuple[float, ...]], weights: Floats) -> Floats:
    """One loss (n,) per trial, to be minimised, of `objectives` (n, m), `constraints` per trial and `weights` (m,).

    Objectives are scaled to [0, 1] by the range of the feasible trials, then eq. 2: max(w * f) + 0.05 * sum(w * f).
    A feasible trial is thus at most 1.05; an infeasible one is 2 plus its total violation, whatever its objectives.
    """
    violations = np.array([sum(max(value, 0) for value in values) for values in constraints], dtype=np.float64)
    result = 2 + violations
    feasible = violations == 0
    if feasible.any():
        values = objectives[feasible]
        low = values.min(axis=0)
        span = values.max(axis=0) - low
        weighted = weights * (values - low) / np.where(span > 0, span, 1)  # (feasible, m)
        result[feasible] = weighted.max(axis=1) + AUGMENTATION * weighted.sum(axis=1)
    return result
