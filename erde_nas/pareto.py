"""Pareto maths on arrays of shape (n, m): n points, m objectives, all minimised. Needs numpy alone.

A point dominates another if it is nowhere worse and somewhere better; equal points do not dominate each other. A row
with a NaN is no point: it is never on the front, ranks behind every other row and adds no hypervolume.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mask (n,) of the points of an (n, m) array that no other point dominates; equal points share one answer.

    O(n * front) after sorting. Raises ValueError unless `points` is two-dimensional (or empty).
    """
    points = _as_points(points)
    mask = np.zeros(len(points), dtype=bool)
    valid = np.flatnonzero(~np.isnan(points).any(axis=1))
    if len(valid) == 0:
        return mask
    rows, inverse = np.unique(points[valid], axis=0, return_inverse=True)
    mask[valid] = _front_of_sorted(rows)[inverse.reshape(-1)]
    return mask


def ranks(points: ArrayLike) -> NDArray[np.int64]:
    """Non-domination rank (n,) of an (n, m) array: 0 on the front, r on the front of what remains without 0 to r - 1.

    The fronts of Deb et al. 2002 (NSGA-II, doi:10.1109/4235.996017, section III-A), found as the longest chain of
    dominators in O(m * n**2). Raises ValueError unless `points` is two-dimensional (or empty).
    """
    points = _as_points(points)
    result = np.zeros(len(points), dtype=np.int64)
    invalid = np.isnan(points).any(axis=1)
    if not invalid.all():
        rows, inverse = np.unique(points[~invalid], axis=0, return_inverse=True)
        later = np.ascontiguousarray(rows[:, 1:].T)  # (m - 1, n)
        depth = np.zeros(len(rows), dtype=np.int64)
        for i in range(1, len(rows)):
            dominators = (later[:, :i] <= later[:, i, None]).all(axis=0)
            depth[i] = depth[:i].max(where=dominators, initial=-1) + 1
        result[~invalid] = depth[inverse.reshape(-1)]
    result[invalid] = result.max(initial=-1, where=~invalid) + 1
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

    Exact: a sweep for m = 2, slices along the last objective for more (HSO, While et al. 2006,
    doi:10.1109/TEVC.2005.851275), which suits fronts of a few hundred points in three objectives.
    Raises ValueError for shapes that do not fit and for a reference that is not finite.
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
    return _volume(inside, reference) if len(inside) else 0.0


def _as_points(points: ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0 and array.ndim < 2:
        return array.reshape(0, 1)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"points must have shape (n, m) with m of at least 1, but got {array.shape}")
    return array


def _front_of_sorted(rows: Floats) -> NDArray[np.bool_]:
    """Non-dominated mask (n,) of distinct rows (n, m) in lexicographic order.

    In that order only an earlier row can dominate a later one, and the first objective need not be compared; a
    dominated row needs not be remembered, because whatever dominates it dominates what it dominates.
    """
    later = np.ascontiguousarray(rows[:, 1:].T)  # (m - 1, n)
    front, size = np.empty_like(later), 0
    mask = np.zeros(len(rows), dtype=bool)
    for i in range(len(rows)):
        if not (front[:, :size] <= later[:, i, None]).all(axis=0).any():
            mask[i] = True
            front[:, size] = later[:, i]
            size += 1
    return mask


def _volume(points: Floats, reference: Floats) -> float:
    """Hypervolume of at least one point (n, m), all of them strictly below the reference."""
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    points = points[np.argsort(points[:, 0 if points.shape[1] == 2 else -1], kind="stable")]
    if points.shape[1] == 2:  # a point adds the strip between its own height and the lowest one to its left
        lowest = np.minimum.accumulate(np.append(reference[1], points[:, 1]))
        return float(np.sum((reference[0] - points[:, 0]) * (lowest[:-1] - lowest[1:])))
    points = points[non_dominated(points)]
    floors, starts = np.unique(points[:, -1], return_index=True)
    ends = np.append(starts[1:], len(points))
    heights = np.diff(np.append(floors, reference[-1]))
    slices = (_volume(points[:end, :-1], reference[:-1]) for end in ends)
    return sum(float(height) * area for height, area in zip(heights, slices, strict=True))
