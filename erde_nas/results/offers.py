"""Which measured points are worth shipping: one front per profile and one for MACs, and a reason for every other point.

Validation decides; test is only reported. A compressed student that is not faster than what it was made from is never
offered, whatever its accuracy.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from erde_nas.pareto import hypervolume, non_dominated
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.point import Point
from erde_nas.report_data.uncertainty import significant

DOMINATED = "dominated: others are at least as accurate on validation and cheaper"
Fronts = dict[str, list[int]]


def offer(
    points: Sequence[Point], profiles: Sequence[HardwareProfile], parents: dict[str, str]
) -> tuple[list[Point], Fronts]:
    """The points with `offered` and, where they are not, the `reason`; and indices of each front, by cost.

    `parents` maps a pruned student to the one it was made from.
    """
    marked = [_with_obstacle(point, points, profiles, parents) for point in points]
    fronts = {"macs": _front(marked, lambda p: p.macs if p.stage != "quantized" else None)}
    for profile in profiles:
        fronts[profile.name] = _front(marked, partial(_usable_latency, profile=profile))
    kept = {index for front in fronts.values() for index in front}
    return [
        point if index in kept or not point.offered else replace(point, offered=False, reason=DOMINATED, dominated=True)
        for index, point in enumerate(marked)
    ], fronts


def mean_latency(point: Point, profile: str) -> float | None:
    """The measured mean under a profile, if there is one."""
    latency = point.latency_ms.get(profile)
    return None if latency is None else latency.mean


def _usable_latency(point: Point, profile: HardwareProfile) -> float | None:
    """The measured mean, unless the point is beyond a limit of this profile, or its exits do not pay there: another
    profile may still offer it."""
    return (
        None if _over(point, profile) or _exits_do_not_pay(point, profile.name) else mean_latency(point, profile.name)
    )


def _with_obstacle(
    point: Point, points: Sequence[Point], profiles: Sequence[HardwareProfile], parents: dict[str, str]
) -> Point:
    if not point.offered:
        return point
    reason = _beyond_limits(point, profiles) or _not_faster(point, points, parents) or _no_exits_pay(point)
    return replace(point, offered=False, reason=reason) if reason else point


def _beyond_limits(point: Point, profiles: Sequence[HardwareProfile]) -> str:
    """A point beyond a limit of every profile that it was measured under is of no use to any."""
    reasons = []
    for profile in profiles:
        if profile.name not in point.latency_ms:
            continue
        over = _over(point, profile)
        if not over:
            return ""
        reasons += over
    return "; ".join(reasons)


def _over(point: Point, profile: HardwareProfile) -> list[str]:
    """Each limit of one profile that the point exceeds, in words."""
    values = {"latency_ms": mean_latency(point, profile.name), "macs": point.macs, "params": point.params}
    values["size_bytes"] = point.size_bytes
    return [
        f"{key} {value:.4g} is over {profile.name}'s limit {limit:.4g}"
        for key, value in values.items()
        if (limit := getattr(profile.limits, key)) is not None and value is not None and value > limit
    ]


def _not_faster(point: Point, points: Sequence[Point], parents: dict[str, str]) -> str:
    """Compare a run through the whole network with the same of what the file was made from, where both were timed."""
    if point.stage == "quantized":
        sources = [p for p in points if p.student == point.student and p.stage != "quantized"]
    elif point.stage == "pruned":
        sources = [p for p in points if p.student == parents.get(point.student) and p.stage == "finished"]
    else:
        return ""
    slower = []
    for profile, latency in point.latency_ms.items():
        timed = [s.latency_ms[profile].per_exit[-1] for s in sources if profile in s.latency_ms]
        if timed and latency.per_exit[-1] >= timed[0]:
            slower.append(f"{significant(latency.per_exit[-1])} against {significant(timed[0])} ms on {profile}")
    if slower and len(slower) == len(point.latency_ms):
        before = "fp32" if point.stage == "quantized" else "unpruned"
        return f"not faster than {before}: {', '.join(slower)} at the last exit"
    return ""


def _exits_do_not_pay(point: Point, profile: str) -> str:
    """How the median is above that of the same student always run to the end, which was timed beside it; or nothing."""
    latency = point.latency_ms.get(profile)
    if latency is None or latency.p50 is None or latency.p50_without_exits is None:
        return ""
    if latency.p50 <= latency.p50_without_exits:
        return ""
    return f"{significant(latency.p50)} against {significant(latency.p50_without_exits)} ms on {profile}"


def _no_exits_pay(point: Point) -> str:
    """A point whose exits pay on no profile is of no use: the same student without exits has the better median."""
    reasons = [_exits_do_not_pay(point, profile) for profile in point.latency_ms]
    if not reasons or not all(reasons):
        return ""
    return f"p50 is worse than that of the same student without exits: {', '.join(reasons)}"


def _front(points: Sequence[Point], cost_of: Callable[[Point], float | None]) -> list[int]:
    """Indices of the offered non-dominated points in (validation error, cost), cheapest first; equal points once."""
    rows = {
        index: (1 - point.val_accuracy, cost)
        for index, point in enumerate(points)
        if point.offered and (cost := cost_of(point)) is not None
    }
    if not rows:
        return []
    indices = list(rows)
    keep = non_dominated(np.array(list(rows.values())))
    unique = {rows[index]: index for index, kept in zip(reversed(indices), reversed(keep), strict=True) if kept}
    return sorted(unique.values(), key=lambda index: rows[index][1])


def front_hypervolumes(points: Sequence[Point], fronts: Fronts, teacher: Point) -> dict[str, float]:
    """Hypervolume per front in (validation error, cost as a share of the teacher's), up to the point (1, 1)."""
    volumes = {}
    for name, front in fronts.items():
        whole = teacher.macs if name == "macs" else mean_latency(teacher, name)
        if not whole or not front:
            continue
        costs = [(points[i].macs if name == "macs" else mean_latency(points[i], name)) or 0.0 for i in front]
        rows = np.array([[1 - points[i].val_accuracy, cost / whole] for i, cost in zip(front, costs, strict=True)])
        volumes[name] = hypervolume(rows, np.array([1.0, 1.0]))
    return volumes
