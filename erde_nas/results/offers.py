"""Which measured points are worth shipping: one front per profile and one for MACs, and a reason for every other point.

What is measured, keeps the limits and is not dominated is offered: whether it is pruned, in int8, cut to fewer exits or
leaves early makes no difference. The cost is what each profile names as its objective. Validation decides; test is only
reported.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from erde_nas.pareto import hypervolume, non_dominated
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.point import MEDIAN_WORSE, Point
from erde_nas.report_data.uncertainty import significant

DOMINATED = "dominated: others are at least as accurate on validation and cheaper"
Fronts = dict[str, list[int]]


def offer(
    points: Sequence[Point], profiles: Sequence[HardwareProfile], parents: dict[str, str]
) -> tuple[list[Point], Fronts]:
    """The points with `offered`, the `reason` where they are not, and `remarks`; and indices of each front, by cost.

    `parents` maps a pruned student to the one it was made from.
    """
    marked = [_with_obstacle(point, profiles) for point in points]
    fronts = {"macs": _front(marked, partial(_macs, profiles=profiles))}
    for profile in profiles:
        fronts[profile.name] = _front(marked, partial(_usable_cost, profile=profile))
    kept = {index for front in fronts.values() for index in front}
    judged = [
        point if index in kept or not point.offered else replace(point, offered=False, reason=DOMINATED, dominated=True)
        for index, point in enumerate(marked)
    ]
    return [replace(point, remarks=_remarks(point, points, parents)) for point in judged], fronts


def estimated_fronts(points: Sequence[Point], profiles: Sequence[HardwareProfile]) -> Fronts:
    """Before anything is measured: what none dominates by validation accuracy and estimated costs. None is offered."""
    able = [replace(point, offered=True) for point in points]
    fronts = {"macs": _front(able, lambda point: point.macs)}
    return fronts | {profile.name: _front(able, partial(_expected_mean, profile=profile.name)) for profile in profiles}


def _expected_mean(point: Point, profile: str) -> float | None:
    latency = point.latency_ms.get(profile)
    return None if latency is None else latency.expected_mean


def mean_latency(point: Point, profile: str) -> float | None:
    """The measured mean under a profile, if there is one."""
    latency = point.latency_ms.get(profile)
    return None if latency is None else latency.mean


def cost_under(point: Point, profile: HardwareProfile) -> float | None:
    """What the profile's objective says of a point, if it was measured under it."""
    latency = point.latency_ms.get(profile.name)
    return None if latency is None else latency.cost(profile.objective)


def fronts_of(point: Point, profiles: Sequence[HardwareProfile]) -> set[str]:
    """The fronts on which a measured point counts: those of profiles whose limits it keeps, and that of MACs."""
    if not _with_obstacle(point, profiles).offered:
        return set()
    found = {profile.name for profile in profiles if _usable_cost(point, profile) is not None}
    return found | ({"macs"} if _macs(point, profiles) is not None else set())


def _usable_cost(point: Point, profile: HardwareProfile) -> float | None:
    """The cost under a profile, unless the point is beyond a limit of it: another profile may still offer it."""
    return None if _over(point, profile) else cost_under(point, profile)


def _macs(point: Point, profiles: Sequence[HardwareProfile]) -> float | None:
    """MACs say nothing of int8."""
    return None if point.stage == "quantized" else point.macs


def _with_obstacle(point: Point, profiles: Sequence[HardwareProfile]) -> Point:
    reason = (_beyond_limits(point, profiles) or _without_cost(point, profiles)) if point.offered else ""
    return replace(point, offered=False, reason=reason) if reason else point


def _remarks(point: Point, points: Sequence[Point], parents: dict[str, str]) -> tuple[str, ...]:
    """What a reader may want to know, and nothing is judged by."""
    return tuple(filter(None, [_not_faster(point, points, parents), _median_worse(point)]))


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


def _without_cost(point: Point, profiles: Sequence[HardwareProfile]) -> str:
    """What was measured under no profile whose objective is known there has no place on any front."""
    measured = [profile for profile in profiles if profile.name in point.latency_ms]
    if not measured or any(cost_under(point, profile) is not None for profile in measured):
        return ""
    return f"its {measured[0].objective} was not measured on {' and '.join(profile.name for profile in measured)}"


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


def _median_worse(point: Point) -> str:
    """Where the median is above that of the same student always run to the end, which was measured beside it."""
    worse = [
        f"{significant(latency.p50)} against {significant(latency.p50_without_exits)} ms on {profile}"
        for profile, latency in point.latency_ms.items()
        if latency.p50 is not None and latency.p50_without_exits is not None and latency.p50 > latency.p50_without_exits
    ]
    return f"{MEDIAN_WORSE}: {', '.join(worse)}" if worse else ""


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


def front_hypervolumes(
    points: Sequence[Point], fronts: Fronts, teacher: Point, profiles: Sequence[HardwareProfile]
) -> dict[str, float]:
    """Hypervolume per front in (validation error, cost as a share of the teacher's), up to the point (1, 1)."""
    by_name = {profile.name: profile for profile in profiles}

    def cost(point: Point, name: str) -> float | None:
        return point.macs if name == "macs" else cost_under(point, by_name[name])

    volumes = {}
    for name, front in fronts.items():
        whole = cost(teacher, name)
        if not whole or not front:
            continue
        rows = [(1 - points[i].val_accuracy, (cost(points[i], name) or 0.0) / whole) for i in front]
        volumes[name] = hypervolume(np.array(rows), np.array([1.0, 1.0]))
    return volumes
