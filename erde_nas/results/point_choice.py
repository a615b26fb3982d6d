"""A goal -> which points of a curve are measured for it, and which measured point is the one to ship."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from erde_nas.networks.operating_points import OperatingPoint
from erde_nas.recipe.goal import GoalSection, describe, misses
from erde_nas.report_data.point import Point
from erde_nas.results.offers import mean_latency

SLACK = 0.95  # of a latency: what the costs of the exits, briefly measured, may promise at most
CLOSE = 0.01  # below the teacher: what is meant where a goal says nothing of accuracy


@dataclass(frozen=True)
class Choice:
    """The point that reaches a goal, or comes nearest to it; `missed` says in words what it does not reach."""

    point: Point
    reached: Mapping[str, float]
    missed: str = ""


def points_for(
    curve: Sequence[OperatingPoint], goal: GoalSection, teacher_accuracy: float, teacher_ms: float
) -> list[OperatingPoint]:
    """The points of a student's curve that a goal asks for: the most accurate one that is fast enough and the cheapest
    one that is accurate enough. Costs are in milliseconds."""
    found = []
    limits = [*([goal.latency_ms] if goal.latency_ms else []), *([teacher_ms / goal.speedup] if goal.speedup else [])]
    fast = [point for point in curve if limits and point.cost <= SLACK * min(limits)]
    if fast:
        found.append(max(fast, key=lambda point: (point.accuracy, -point.cost)))
    if goal.accuracy_drop is not None:
        floor = teacher_accuracy - goal.accuracy_drop - 1e-9
        enough = [point for point in curve if point.accuracy >= floor]
        found += [min(enough, key=lambda point: point.cost)] if enough else []
    return found


def values_of(point: Point, teacher: Point, profile: str, teacher_ms: float) -> dict[str, float]:
    """What a goal is about, of a point that was measured under `profile`. Accuracy is that on validation."""
    latency = mean_latency(point, profile) or 0.0
    return {
        "latency_ms": latency,
        "speedup": teacher_ms / latency,
        "size_kb": (point.size_bytes or 0) / 1000,
        "accuracy_drop": teacher.val_accuracy - point.val_accuracy,
    }


def choose(
    points: Sequence[Point], teacher: Point, teacher_ms: float, profile: str, goal: GoalSection
) -> Choice | None:
    """The fastest of the points that reach the goal, then the most accurate; otherwise the one that misses it least.

    Where the goal says nothing of accuracy, the fastest within a point of the teacher's, else the most accurate one.
    Points that others dominate count, since they may be smaller; others that are not offered only where there is
    nothing else, and as a miss. None where nothing was measured under `profile`.
    """
    timed = [p for p in points if mean_latency(p, profile)]
    usable = [p for p in timed if p.offered or p.dominated]
    choices = [(point, values_of(point, teacher, profile, teacher_ms)) for point in usable or timed]
    if not choices:
        return None

    def order(choice: tuple[Point, dict[str, float]]) -> tuple[float, ...]:
        point, reached = choice
        miss = max(0.0, *misses(reached, goal).values())
        beyond = max(0.0, reached["accuracy_drop"] - CLOSE - 1e-9) if goal.accuracy_drop is None else 0.0
        return miss, beyond, reached["latency_ms"], -point.val_accuracy

    point, reached = min(choices, key=order)
    missed = [key for key, miss in misses(reached, goal).items() if miss > 0]
    text = describe({key: reached[key] for key in missed}, goal)
    return Choice(
        point, reached, text if usable else ", ".join(filter(None, [text, f"and is not offered ({point.reason})"]))
    )
