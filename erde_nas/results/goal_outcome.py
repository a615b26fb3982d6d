"""A goal and what was measured -> what came of it, in a sentence and as a record, and how to ship it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from erde_nas.errors import UserError
from erde_nas.recipe.goal import GoalSection, describe, misses
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.goal import GoalOutcome
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.report_file import FILE
from erde_nas.report_data.uncertainty import doubts_of_both
from erde_nas.results.build_report import parents_of
from erde_nas.results.measured_file import read_measured
from erde_nas.results.offers import mean_latency, offer
from erde_nas.results.point_choice import Choice, choose
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


def goal_outcome(
    store: RunStore,
    profiles: tuple[HardwareProfile, ...],
    goal: GoalSection,
    profile: HardwareProfile,
    students: Sequence[str] = (),
) -> GoalOutcome:
    """Whether a measured student reaches the goal, and which one does or comes nearest; of `students` and what was made
    of them alone, where any are given."""
    measured = read_measured(store)
    if measured.teacher is None:
        raise UserError(f"{store.folder} holds no measured student yet; continue its search")
    points, _ = offer(measured.points, profiles, parents_of(store, measured.students))
    if students:
        points = [point for point in points if _origin(store, point.student) in students]
    teachers = [point for point in (measured.teacher, *measured.baselines) if point.role == "teacher"]
    timed = [teacher for teacher in teachers if mean_latency(teacher, profile.name) is not None]
    if not timed:
        raise UserError(f"the teacher was not measured under {profile.name}, so nothing can be compared; see report.md")
    latency = timed[0].latency_ms[profile.name]
    chosen = choose(points, measured.teacher, latency.mean or 0.0, profile.name, goal)
    text = sentence(chosen, goal, profile.name, latency) + _cheapest(store, measured.students, chosen, goal)
    if chosen is None:
        return GoalOutcome(profile.name, goal.wanted, False, text)
    point, command = chosen.point, export_command(store.folder, chosen.point.student)
    return GoalOutcome(
        profile=profile.name,
        goal=goal.wanted,
        reached=not chosen.missed,
        text=f"{text}\nTo ship it: {command}",
        student=point.student,
        file=point.file,
        thresholds=point.thresholds,
        export=command,
    )


def sentence(choice: Choice | None, goal: GoalSection, profile: str, teacher: Latency | None = None) -> str:
    """What came of the goal. `teacher` is its latency under the profile, for what may be said against it."""
    if choice is None:
        return f"Goal not reached: no student was measured under {profile}."
    point = choice.point
    thresholds = f" at thresholds {', '.join(f'{t:.3g}' for t in point.thresholds)}" if point.thresholds else ""
    name = f"{point.student} ({point.stage}){thresholds}"
    accuracy = [] if "accuracy_drop" in goal.wanted else ["accuracy_drop"]
    what = describe({key: choice.reached[key] for key in [*goal.wanted, *accuracy]}, goal)
    against = teacher if teacher is not None and goal.speedup is not None else None
    timed = goal.latency_ms is not None or goal.speedup is not None
    found = doubts_of_both(point.latency_ms[profile] if timed else None, against)
    noise = f" This is in doubt ({'; '.join(found)}): measure again on a quiet machine." if found else ""
    if choice.missed:
        return f"Goal not reached on {profile}. The nearest is {name}: {choice.missed}; {point.file}.{noise}"
    return f"Goal reached on {profile} by {name}: {what} on validation; {point.file}.{noise}"


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
) -> GoalOutcome | None:
    """The outcome where the run holds a student that reaches the goal, before anything is made for it."""
    measured = read_measured(store)
    timed = any(profile.name in point.latency_ms for point in measured.points)
    if not timed or measured.unmeasured or not (store.folder / FILE).is_file():
        return None
    found = goal_outcome(store, profiles, goal, profile, students)
    return found if found.reached else None


def export_command(run: Path, student: str) -> str:
    """What writes the folder to ship, to be copied."""
    return f"erde-nas export {shlex.quote(str(run))} --student {student} --to {student}"


def _origin(store: RunStore, student: str) -> str:
    """The finished student that one was made of, or itself."""
    record = store.record(student)
    return (record and record.origin) or student
