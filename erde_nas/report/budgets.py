"""A student's operating points as its bundle's `run.py --budget-ms` sees them: which one a budget chooses.

These are the points of `student.json`: the measured ones of the files worth shipping, and the rest of their curves,
whose mean is estimated from the shares of the exits and the measured cost of leaving at each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from erde_nas.report_data.point import Point
from erde_nas.report_data.report import Report

DIGITS = 3  # of a budget, where so many tell it from the next


@dataclass(frozen=True)
class Choice:
    """An operating point that a budget can choose. `point` is the measured one, None where its mean is estimated."""

    file: str
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_accuracy: float
    mean_ms: float
    point: Point | None
    budget_ms: str = ""  # with which `run.py` chooses it


def budget_choices(report: Report, student: str, profile: str) -> list[Choice]:
    """What budgets can choose of a student under a profile, cheapest first: each more accurate on validation than all
    that are cheaper."""
    ordered = sorted(_points(report, student, profile), key=lambda one: (one.mean_ms, -one.val_accuracy))
    kept: list[Choice] = []
    for one in ordered:
        if not kept or one.val_accuracy > kept[-1].val_accuracy:
            kept.append(one)
    ends = [*(one.mean_ms for one in kept[1:]), math.inf][: len(kept)]
    return [_with_budget(one, end) for one, end in zip(kept, ends, strict=True)]


def _points(report: Report, student: str, profile: str) -> list[Choice]:
    found = []
    for file, points in shipped_files(report, student).items():
        timed = [(point, latency) for point in points if (latency := point.latency_ms.get(profile))]
        for point, latency in timed:
            if latency.mean is not None:
                shares = point.exit_fractions
                found.append(Choice(file, point.thresholds, shares, point.val_accuracy, latency.mean, point))
        costs = points[0].latency_ms[profile].per_exit if profile in points[0].latency_ms else ()
        known = {point.thresholds for point in points}
        for place in report.curves.get(file, ()):
            if place.thresholds not in known and len(costs) == len(place.exit_fractions):
                mean = sum(share * ms for share, ms in zip(place.exit_fractions, costs, strict=True))
                found.append(Choice(file, place.thresholds, place.exit_fractions, place.val_accuracy, mean, None))
    return found


def shipped_files(report: Report, student: str) -> dict[str, list[Point]]:
    """The measured points of the files that an export ships: those with an offered point, else all."""
    files: dict[str, list[Point]] = {}
    for point in report.points:
        if point.student == student and point.file and point.file.endswith(".onnx"):
            files.setdefault(point.file, []).append(point)
    offered = {file: points for file, points in files.items() if any(point.offered for point in points)}
    return offered or files


def budget_profiles(report: Report) -> Sequence[str]:
    """The profiles that `run.py` can keep a budget under, the first of which it takes by itself."""
    return [name for name, facts in report.profiles.items() if facts.runtime == "onnxruntime"]


def _with_budget(one: Choice, end: float) -> Choice:
    """With the shortest number from the mean on that is below `end`, where the next choice begins."""
    for digits in range(DIGITS, 17):
        scale = 10.0 ** (digits - 1 - math.floor(math.log10(one.mean_ms)))
        text = f"{math.ceil(one.mean_ms * scale) / scale:.{digits}g}"
        if one.mean_ms <= float(text) < end:
            return replace(one, budget_ms=text)
    return replace(one, budget_ms=repr(one.mean_ms))
