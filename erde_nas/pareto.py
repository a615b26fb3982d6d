"""Pareto maths on arrays of shape (n, m): n points, m objectives, all minimised. moocore does it, in C.

A point dominates another if it is nowhere worse and somewhere better; equal points do not dominate each other. A row
with a NaN is no point: it is never on the front, ranks behind every other row and adds no hypervolume.

moocore: https://multi-objective.github.io/moocore/python/
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

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


def select_curves(curves: Sequence[ArrayLike], k: int) -> NDArray[np.int64]:
    """Indices of the best `k` of n curves (all, if n < k), each an array (points, m) of what one candidate can be.

    The next is always the one that adds the most hypervolume to those before, so that one which does everything that
    another does comes first. Where none adds anything, it begins anew with the rest, as ranks do. Objectives are scaled
    to the range of all points, and the reference point lies a tenth beyond their worst. Curves of a single point each
    are chosen by `select`. Raises ValueError for k < 0, and for points that are not finite where curves have several.
    """
    arrays = [_as_points(curve) for curve in curves]
    if all(len(curve) == 1 for curve in arrays):
        return select(np.concatenate(arrays) if arrays else [], k)
    if k < 0 or not all(np.isfinite(curve).all() for curve in arrays):
        raise ValueError(f"k must be 0 or more and all points finite, but got {k} and {arrays}")
    low, span = (of(np.concatenate(arrays), axis=0) for of in (np.min, np.ptp))
    arrays = [(curve - low) / np.where(span > 0, span, 1.0) for curve in arrays]
    reference, chosen = np.full(len(low), 1.1), list[int]()
    while len(chosen) < min(k, len(arrays)):
        chosen += _by_added_volume(arrays, [i for i in range(len(arrays)) if i not in chosen], reference)
    return np.array(chosen[:k], dtype=np.int64)


def _by_added_volume(curves: Sequence[Floats], of: Sequence[int], reference: Floats) -> list[int]:
    """Those `of` the curves that add something, by what they add to those before. What a curve adds only shrinks, so
    none is looked at again while another is known to add more (lazy greedy, Minoux 1978)."""
    front, volume, chosen = np.empty((0, len(reference))), 0.0, list[int]()
    waiting = [(-hypervolume(curves[index], reference), index) for index in of]
    heapify(waiting)
    while waiting:
        index = heappop(waiting)[1]
        joint = np.concatenate([front, curves[index]])
        added = hypervolume(joint, reference) - volume
        if waiting and -added > waiting[0][0]:
            heappush(waiting, (-added, index))
        elif added > 1e-9 or not chosen:
            front, volume = joint[non_dominated(joint)], volume + added
            chosen.append(index)
    return chosen


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
