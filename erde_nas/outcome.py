"""What came of a goal: the measured student that reaches it, or the nearest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erde_nas.assemble import parents_of
from erde_nas.compress_section import GoalSection
from erde_nas.errors import UserError
from erde_nas.finals import read_measured
from erde_nas.goals import choose, sentence
from erde_nas.hardware import HardwareProfile
from erde_nas.offer import mean_latency, offer
from erde_nas.run import Run


def profile_of(profiles: Sequence[HardwareProfile], name: str | None, out: Path) -> HardwareProfile:
    """The profile that a goal is about. Raises UserError where several would do, or none has that name."""
    names = ", ".join(profile.name for profile in profiles)
    if name is None and len(profiles) > 1:
        raise UserError(f"{out} has several profiles; say with --profile which one --target is about: {names}")
    found = [profile for profile in profiles if name in (None, profile.name)]
    if not found:
        raise UserError(f"{out} has no profile '{name}'; it has {names}")
    return found[0]


def came_of(run: Run, goal: GoalSection, profile: HardwareProfile) -> dict[str, Any]:
    """Whether a measured student reaches the goal, and which one does or comes nearest."""
    measured = read_measured(run.store)
    assert measured.teacher is not None
    parents = parents_of(run, measured.students)
    points, _ = offer(measured.points, run.shared.profiles, parents)
    teachers = [p for p in (measured.teacher, *measured.baselines) if p.label.split(",")[0] == "teacher"]
    timed = [teacher for teacher in teachers if mean_latency(teacher, profile.name) is not None]
    if not timed:
        raise UserError(f"the teacher was not measured under {profile.name}, so nothing can be compared; see report.md")
    latency = timed[0].latency_ms[profile.name]
    chosen = choose(points, measured.teacher, latency.mean or 0.0, profile.name, goal)
    return {
        "profile": profile.name,
        "goal": goal.wanted,
        "reached": chosen is not None and not chosen.missed,
        "student": None if chosen is None else chosen.point.student,
        "file": None if chosen is None else chosen.point.file,
        "thresholds": [] if chosen is None else list(chosen.point.thresholds),
        "text": sentence(chosen, goal, profile.name, latency),
    }
