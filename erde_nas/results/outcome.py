"""What came of a goal: the measured student that reaches it, or the nearest."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erde_nas.errors import UserError
from erde_nas.recipe.goal import GoalSection, misses
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.results.goal import Choice, choose, sentence
from erde_nas.results.measured import read_measured
from erde_nas.results.offer import mean_latency, offer
from erde_nas.results.report_model import parents_of
from erde_nas.run.folder import RunStore


def profile_of(profiles: Sequence[HardwareProfile], name: str | None, out: Path) -> HardwareProfile:
    """The profile that a goal is about. Raises UserError where several would do, or none has that name."""
    names = ", ".join(profile.name for profile in profiles)
    if name is None and len(profiles) > 1:
        raise UserError(f"{out} has several profiles; say with --profile which one --target is about: {names}")
    found = [profile for profile in profiles if name in (None, profile.name)]
    if not found:
        raise UserError(f"{out} has no profile '{name}'; it has {names}")
    return found[0]


def came_of(
    store: RunStore,
    profiles: tuple[HardwareProfile, ...],
    goal: GoalSection,
    profile: HardwareProfile,
    students: Sequence[str] = (),
) -> dict[str, Any]:
    """Whether a measured student reaches the goal, and which one does or comes nearest; of `students` and what was made
    of them alone, where any are given."""
    measured = read_measured(store)
    if measured.teacher is None:
        raise UserError(f"{store.folder} holds no measured student yet; continue its search")
    points, _ = offer(measured.points, profiles, parents_of(store, measured.students))
    if students:
        points = [point for point in points if _origin(store, point.student) in students]
    teachers = [p for p in (measured.teacher, *measured.baselines) if p.role == "teacher"]
    timed = [teacher for teacher in teachers if mean_latency(teacher, profile.name) is not None]
    if not timed:
        raise UserError(f"the teacher was not measured under {profile.name}, so nothing can be compared; see report.md")
    latency = timed[0].latency_ms[profile.name]
    chosen = choose(points, measured.teacher, latency.mean or 0.0, profile.name, goal)
    found = {
        "profile": profile.name,
        "goal": goal.wanted,
        "reached": chosen is not None and not chosen.missed,
        "student": None,
        "file": None,
        "thresholds": [],
        "text": sentence(chosen, goal, profile.name, latency) + _cheapest(store, measured.students, chosen, goal),
    }
    if chosen is None:
        return found
    point = chosen.point
    command = export_command(store.folder, point.student)
    text = f"{found['text']}\nTo ship it: {command}"
    return found | {
        "student": point.student,
        "file": point.file,
        "thresholds": list(point.thresholds),
        "export": command,
        "text": text,
    }


def _cheapest(store: RunStore, students: Sequence[str], chosen: Choice | None, goal: GoalSection) -> str:
    """Which students no pruning makes cheaper, where a cost is what misses the goal."""
    found = [name for name in students if (record := store.record(name)) and record.cheapest]
    missed = {} if chosen is None else misses(chosen.reached, goal)
    if not found or not any(miss > 0 for key, miss in missed.items() if key != "accuracy_drop"):
        return ""
    return f" Pruning makes nothing cheaper than {' and '.join(found)}."


def already_reached(
    store: RunStore,
    profiles: tuple[HardwareProfile, ...],
    goal: GoalSection,
    profile: HardwareProfile,
    students: Sequence[str],
) -> dict[str, Any] | None:
    """What `came_of` says where the run holds a student that reaches the goal, before anything is made for it."""
    measured = read_measured(store)
    timed = any(profile.name in point.latency_ms for point in measured.points)
    if not timed or measured.unmeasured or not (store.folder / "pareto.json").is_file():
        return None
    found = came_of(store, profiles, goal, profile, students)
    return found if found["reached"] else None


def export_command(run: Path, student: str) -> str:
    """What writes the folder to ship, to be copied."""
    return f"erde-nas export {shlex.quote(str(run))} --student {student} --to {student}"


def _origin(store: RunStore, student: str) -> str:
    """The finished student that one was made of, or itself."""
    record = store.record(student)
    return (record and record.origin) or student
