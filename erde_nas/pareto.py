"""Pareto maths on arrays of shape (n, m): n points, m objectives, all minimised. moocore does it, in C.

A point dominates another if it is nowhere worse and somewhere better; equal points do not dominate each other. A row
with a NaN is no point: it is never on the front, ranks behind every other row and adds no hypervolume.

moocore: https://multi-objective.github.io/moocore/python/
"""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mask (n,) of the points of an (n, m) array that no other point dominates; equal points share one answer.

    Raises ValueError unless `points` is two-dimensional (or empty).
    """
    points = _as_points(points)
    mask = _valid(points)
    mask[mask] = moocore.is_nondominated(_places(points[mask]), keep_weakly=True)
    return mask


def ranks(points: ArrayLike) -> NDArray[np.int64]:
    """Non-domination rank (n,) of an (n, m) array: 0 on the front, r on the front of what remains without 0 to r - 1.

    The fronts of Deb et al. 2002 (NSGA-II, doi:10.1109/4235.996017, section III-A). Raises ValueError unless `points`
    is two-dimensional (or empty).
    """
    points = _as_points(points)
    valid = _valid(points)
    result = np.zeros(len(points), dtype=np.int64)
    result[valid] = moocore.pareto_rank(_places(points[valid]))
    result[~valid] = result.max(initial=-1, where=valid) + 1
    return result


def crowding_distance(points: ArrayLike) -> Floats:
    """Crowding distance (n,) of one front (n, m): larger is lonelier, infinite at the ends of every objective.

    Deb et al. 2002, section III-B. An objective that is the same for all points, or not finite for one, adds nothing.
    Raises ValueError unless `points` is two-dimensional (or empty).
    """
    points = _as_points(points)
    distance = np.zeros(len(points))
    for values in points.T:
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        if not (np.isfinite(values).all() and low < high):
            continue
        order = np.argsort(values, kind="stable")
        distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / (high - low)
        distance[order[[0, -1]]] = np.inf
    return distance


def select(points: ArrayLike, k: int) -> NDArray[np.int64]:
    """Indices of the best `k` of n points (all, if n < k): by rank, then by crowding distance, then by index.

    Environmental selection of NSGA-II (Deb et al. 2002, section III-C). Raises ValueError for k < 0.
    """
    if k < 0:
        raise ValueError(f"k must be 0 or more, but got {k}")
    points = _as_points(points)
    rank = ranks(points)
    distance = np.zeros(len(points))
    for front in np.unique(rank):
        members = rank == front
        distance[members] = crowding_distance(points[members])
    return np.lexsort((-distance, rank))[:k]


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the (n, m) points dominate below the `reference` point (m,); points beyond it add nothing.

    Exact, and infinite where a point is. Raises ValueError for shapes that do not fit and for a reference that is not
    finite.
    """
    points, reference = _as_points(points), np.asarray(reference, dtype=np.float64)
    if reference.ndim != 1 or len(reference) == 0 or not np.isfinite(reference).all():
        raise ValueError(f"reference must be a vector of finite values, but got {reference.tolist()}")
    if len(points) == 0:
        return 0.0
    if points.shape[1] != len(reference):
        raise ValueError(
            f"points and reference must have as many objectives, but got {points.shape[1]} and {len(reference)}"
        )
    inside = points[(points < reference).all(axis=1)]
    return float("inf") if np.isinf(inside).any() else float(moocore.hypervolume(inside, ref=reference))


def _valid(points: Floats) -> NDArray[np.bool_]:
    return np.logical_not(np.isnan(points).any(axis=1))


def _places(points: Floats) -> Floats:
    """Each value's place among those of its objective: the same order, and finite. Of infinite values moocore (0.3)
    makes wrong fronts, and some end the process."""
    return np.stack([np.unique(values, return_inverse=True)[1] for values in points.T], axis=-1).astype(np.float64)


def _as_points(points: ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0 and array.ndim < 2:
        return array.reshape(0, 1)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"points must have shape (n, m) with m of at least 1, but got {array.shape}")
    return array
