"""Trained networks -> measured operating points, in every precision that a profile allows, then read on test."""

from collections.abc import Sequence
from dataclasses import replace

from erde_nas.measurement.failures import LeftOut, leaving_out
from erde_nas.recipe.goal import GoalSection
from erde_nas.report.points import ROLE_NAMES
from erde_nas.report_data.point import Point
from erde_nas.results.measure_networks import Wanted, measure_networks
from erde_nas.results.measured_file import Measured, read_measured, weights_of, write_measured
from erde_nas.results.network_points import without_file
from erde_nas.results.timings import FinalTimings
from erde_nas.results.trained import best_without_exits, students_of, teachers_of
from erde_nas.run.context import RunContext


def measure_run(
    run: RunContext,
    students: Sequence[str],
    again: bool,
    goal: GoalSection | None = None,
    asked: Sequence[str] = (),
) -> None:
    """Deploy, measure and test the students with teacher and baselines, unless that is done and not wanted `again`.

    Profiles whose device is lost stay without numbers; the next call measures those. With a `goal`, the operating
    points that it asks for are among those measured, and so are those of the students `asked` for and of what was made
    of them.
    """
    before = read_measured(run.store)
    if set(before.students) == set(students) and not before.unmeasured and not again:
        return
    final, left_out = FinalTimings(run.store.folder, again, run.meter.say), LeftOut()
    teacher, baselines = teachers_of(run)
    networks = students_of(run, students, left_out)
    whole = ""
    with leaving_out(left_out, ROLE_NAMES["student_without_exits"]):
        whole = best_without_exits(run, networks)
    made = {name for name in students if (record := run.store.record(name)) and record.origin in asked}
    wanted = Wanted(goal, frozenset({*asked, *made, whole}))
    points, screened = measure_networks([teacher, *baselines, *networks], run, final, left_out, wanted)
    compared = [point for point in points if point.role != "student"]
    if all(point.role != "teacher" or point.stage == "quantized" for point in compared):
        compared.insert(0, without_file(teacher, run.context))
    compared += [replace(point, role="student_without_exits") for point in points if point.student == whole]
    first = _teacher_point([point for point in compared if point.role == "teacher"])
    others = tuple(point for point in compared if point.file != first.file)
    rest = tuple(point for point in points if point.role == "student")
    weights = weights_of(run.store, students)
    found = Measured(tuple(students), first, others, rest, final.lost, left_out, tuple(screened), weights)
    write_measured(run.store, found)
    final.close()
    for name, reason in final.lost.items():
        run.meter.say(f"measure: profile {name} has no numbers: {reason}; the same command measures it later")
    for name, reason in left_out.items():
        run.meter.say(f"measure: {name} is left out: {reason}")


def _teacher_point(points: Sequence[Point]) -> Point:
    """The teacher that students are compared with, under bf16 profiles with its latency in bf16."""
    whole = [point for point in points if point.stage != "quantized"]
    latency = {name: found for point in reversed(whole) for name, found in point.latency_ms.items()}
    return replace(whole[0], latency_ms=latency)
