"""Trained networks -> measured operating points, in every precision that a profile allows, then read on test."""

import hashlib
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.errors import UserError
from erde_nas.measurement.candidate_latency import SCREENING
from erde_nas.measurement.failures import LeftOut, leaving_out, measure_each
from erde_nas.measurement.latency import Effort, Workload
from erde_nas.measurement.profile_kinds import all_kinds, measured_together
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, drop_early_exits
from erde_nas.networks.weights import load_network
from erde_nas.onnx_files.curve import curve_path
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.progress.meter import Meter
from erde_nas.recipe.goal import GoalSection
from erde_nas.report.points import ROLE_NAMES
from erde_nas.report_data.point import Point
from erde_nas.report_data.screened import ScreenedPoint
from erde_nas.results.candidates import to_measure
from erde_nas.results.cascades import cascade_files, cascade_points
from erde_nas.results.derived import cut_files, derived_files
from erde_nas.results.measured_file import Measured, read_measured, write_measured
from erde_nas.results.network_files import (
    NetworkFile,
    TrainedNetwork,
    settle_int8,
    wanted_points,
    with_points,
    with_thresholds,
    write_files,
)
from erde_nas.results.network_points import points_of, without_file
from erde_nas.results.offers import fronts_of
from erde_nas.results.timings import FinalTimings
from erde_nas.run.context import RunContext
from erde_nas.run.pace import ALLOWANCE, BRIEF, EXPORT, FILE_S, MEASURE, measuring_s


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
    teacher, baselines = _teachers(run)
    networks = _students(run, students, left_out)
    whole = ""
    with leaving_out(left_out, ROLE_NAMES["student_without_exits"]):
        whole = _without_exits(run, networks)
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
    write_measured(run.store, Measured(tuple(students), first, others, rest, final.lost, left_out, tuple(screened)))
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


def _teachers(run: RunContext) -> tuple[TrainedNetwork, list[TrainedNetwork]]:
    """The teacher without early exits, and with them as a baseline where it has some."""
    folder, teacher, macs = run.store.folder / "teacher", run.context.teacher, run.context.teacher_macs
    network = teacher.early_exit
    if network is None:
        last = teacher.network.exit(-1) if isinstance(teacher.network, ForeignTeacher) else teacher.network
        return TrainedNetwork("teacher", last, folder, "finished", macs[-1:], "no-exits", "teacher", 1), []
    whole = drop_early_exits(network)
    plain = TrainedNetwork("teacher", whole, folder, "finished", _macs(whole), "no-exits", "teacher", 1)
    own = TrainedNetwork("teacher", network, folder, "finished", macs, "model", "teacher_with_exits", 1)
    return plain, [own] if len(network.segments) > 1 else []


def _students(run: RunContext, students: Sequence[str], left_out: LeftOut) -> list[TrainedNetwork]:
    networks = []
    for name in students:
        with leaving_out(left_out, name):
            networks.append(_student(run, name))
    return networks


def _student(run: RunContext, name: str) -> TrainedNetwork:
    network = load_network(run.store.student(name) / "weights.safetensors")
    record = run.store.record(name)
    if record is None or record.stage != "pruned":
        return TrainedNetwork(name, network, run.store.student(name), "finished", _macs(network))
    kept, cut_of = record.kept_exits or (), record.parent if record.kept_exits else ""
    return TrainedNetwork(
        name, network, run.store.student(name), "pruned", _macs(network), cut_of=cut_of, kept_exits=kept
    )


def _without_exits(run: RunContext, networks: Sequence[TrainedNetwork]) -> str:
    """The student without exits that is made of the finished one which is best on validation when nothing leaves early:
    itself, where it has one exit."""
    validation = run.context.dataset.validation

    def accuracy(trained: TrainedNetwork) -> float:
        return float((all_logits(trained.network, validation.images)[-1].argmax(-1) == validation.labels).mean())

    best = max((trained for trained in networks if trained.stage == "finished"), key=accuracy)
    exits = len(all_logits(best.network, validation.images[:1]))
    last = (exits - 1,)
    same = [trained for trained in networks if (trained.cut_of, trained.kept_exits) == (best.name, last)]
    return best.name if exits == 1 else same[0].name


def _macs(network: EarlyExitNetwork) -> tuple[float, ...]:
    return tuple(map(float, macs_per_exit(network)))


@dataclass(frozen=True)
class Wanted:
    """What is measured in full whatever it costs: the points that a goal asks for, and these students."""

    goal: GoalSection | None = None
    students: frozenset[str] = frozenset()


def measure_networks(
    networks: Sequence[TrainedNetwork],
    run: RunContext,
    final: FinalTimings,
    left_out: LeftOut,
    wanted: Wanted = Wanted(),
) -> tuple[list[Point], list[ScreenedPoint]]:
    """Deploy, measure and test all networks, all in the same processes so that their ratios are comparable; and what a
    brief measurement ruled out.

    A student's file that does not answer as its network gives points that are not offered; whatever fails gives none,
    and its reason in `left_out`. `final` gets the timings, and the profiles that cannot be measured. Raises UserError
    where none can.
    """
    context = run.context
    planned = measuring_s(sum(not trained.cut_of for trained in networks), run.pace)
    run.meter.plan(planned, fixed=[ALLOWANCE])
    with run.store.timed(EXPORT):
        files = _all_files(networks, run, left_out)
    final.open([file.workload for file in files])
    _time_briefly(files, run, final, left_out)
    with run.store.timed(EXPORT):
        cascades = cascade_files(files, final.quick, run, left_out)
    _time_briefly(cascades, run, final, left_out)
    with run.store.timed(EXPORT):
        files = _pointed(files, run, final, left_out, wanted.goal)
        files += [cascade_points(f, files) for f in _pointed(cascades, run, final, left_out, wanted.goal, files)]
    points, unfirm = list[Point](), dict[tuple[str, tuple[float, ...]], set[str]]()
    measured, timings = set[tuple[str, tuple[float, ...]]](), dict[str, dict[str, Timing]]()
    for times in count():  # again, where what ruled out others cannot be offered itself
        chosen, screened = to_measure(files, context, final, wanted.students, unfirm)
        tried = _not_in(chosen, measured, times)
        if not tried:
            break
        measured |= {(str(file.path), point.thresholds) for file in tried for point in file.points}
        _say(run, tried, screened)
        with run.store.timed(EXPORT):
            fresh = _written(tried, run, left_out)
        for name, found in _measure_all(fresh, run, final, left_out, planned[MEASURE]).items():
            timings.setdefault(name, {}).update(found)
        timed = [file for file in fresh if any(file.key in found for found in timings.values())]
        if not timed and not points:
            raise UserError("; ".join(dict.fromkeys([*final.lost.values(), *left_out.values()])))
        found_points = list[Point]()
        for file in timed:
            with leaving_out(left_out, file.key):
                found_points += points_of(file, context, timings, run.store.folder, left_out)
        points += found_points
        unfirm |= _not_standing(tried, found_points, run, final.lost)
    _remove([file for file in files if str(file.path) not in {path for path, _ in measured}])
    return points, screened


def _remove(files: Sequence[NetworkFile]) -> None:
    """The files that were only timed briefly: they have no thresholds, and nobody is to run them."""
    for file in files:
        file.path.unlink(missing_ok=True)
        curve_path(file.path).unlink(missing_ok=True)


def _all_files(networks: Sequence[TrainedNetwork], run: RunContext, left_out: LeftOut) -> list[NetworkFile]:
    """The files of trained networks in their best form, of those with fewer exits, and what else is made of them."""
    names = {trained.name for trained in networks}
    cut = [trained for trained in networks if trained.cut_of in names]
    files = []
    for trained in networks:
        if trained not in cut:
            files += write_files(trained, run.context, left_out)
            run.meter.add(EXPORT, FILE_S / 2, trained.name)
    files = settle_int8(files, run.context, lambda text: run.meter.add(EXPORT, 0.0, text))
    files += cut_files(files, cut, run, left_out)
    return [*files, *derived_files(files, run, left_out)]


def _time_briefly(files: Sequence[NetworkFile], run: RunContext, final: FinalTimings, left_out: LeftOut) -> None:
    """Every exit of every file, under every setting. Raises UserError where no file can be timed."""
    context, images = run.context, run.context.dataset.validation.images
    for setting, group in measured_together(context.profiles).items():
        kinds, known = all_kinds(group), final.brief(setting)
        fresh = [file.workload for file in files if file.kind in kinds and file.key not in known]
        if fresh:
            timed = partial(measure_each, fresh, group[0], images, SCREENING, left_out)
            final.time_quickly(setting, group, timed)
            run.meter.add(MEASURE, BRIEF * run.pace.probe.process_s, "the cost of every exit")
    if not final.quick:
        raise UserError("; ".join(dict.fromkeys([*final.lost.values(), *left_out.values()])))


def _pointed(
    files: Sequence[NetworkFile],
    run: RunContext,
    final: FinalTimings,
    left_out: LeftOut,
    goal: GoalSection | None,
    teachers: Sequence[NetworkFile] | None = None,
) -> list[NetworkFile]:
    """The files that were timed briefly, with their operating points; the teacher is among `teachers`, or them."""
    context, those = run.context, files if teachers is None else teachers
    teacher = next((file for file in those if file.trained.role == "teacher" and file.kind == FP32), None)
    wanted = wanted_points(goal, teacher, final.quick, context.dataset.validation.labels)
    pointed = []
    for file in files:
        if file.key in final.quick:
            with leaving_out(left_out, file.key):
                pointed.append(with_points(file, final.quick[file.key], context, wanted))
    return pointed


def _not_in(
    files: Sequence[NetworkFile], measured: set[tuple[str, tuple[float, ...]]], times: int
) -> list[NetworkFile]:
    """The files with those of their points that are not measured yet; `times` tells these from the former ones."""
    left = []
    for file in files:
        points = tuple(point for point in file.points if (str(file.path), point.thresholds) not in measured)
        if points:
            left.append(replace(file, points=points, times=times))
    return left


def _say(run: RunContext, files: Sequence[NetworkFile], screened: Sequence[ScreenedPoint]) -> None:
    points = sum(len(file.points) for file in files)
    run.meter.say(
        f"measure: {points} operating points of {len(files)} files; {len(screened)} points are left out after a brief "
        "measurement, since others are certainly better"
    )


def _written(files: Sequence[NetworkFile], run: RunContext, left_out: LeftOut) -> list[NetworkFile]:
    """The files with their thresholds; a baseline must answer as its network does."""
    written, kinds = [], len({file.kind for file in files})
    for file in files:
        with leaving_out(left_out, file.key):
            found = with_thresholds(file, run.context)
            if found.mismatch and file.trained.role != "student":
                left_out[file.key] = found.mismatch
            else:
                written.append(found)
        run.meter.add(EXPORT, FILE_S / 2 / kinds, f"{file.trained.name}, checked")
    return written


def _not_standing(
    files: Sequence[NetworkFile], points: Sequence[Point], run: RunContext, lost: Collection[str]
) -> dict[tuple[str, tuple[float, ...]], set[str]]:
    """The fronts on which points that were to be measured cannot stand, by file and thresholds; of profiles whose
    device is lost nothing can be said."""
    profiles = [profile for profile in run.context.profiles if profile.name not in lost]
    found = {(str(run.store.folder / str(point.file)), point.thresholds): point for point in points}
    gone = {}
    for file in files:
        for chosen in file.points:
            place = str(file.path), chosen.thresholds
            point = found.get(place)
            fronts = set() if point is None else fronts_of(point, profiles)
            gone[place] = {"macs", *(profile.name for profile in profiles)} - fronts
    return gone


def _measure_all(
    files: Sequence[NetworkFile], run: RunContext, final: FinalTimings, left_out: LeftOut, planned_s: float
) -> dict[str, dict[str, Timing]]:
    """The timings of all files by profile and key."""
    timings: dict[str, dict[str, Timing]] = {}
    groups = measured_together(run.context.profiles)
    for setting, group in groups.items():
        workloads = [file.workload for file in files if file.kind in all_kinds(group)]
        if not workloads:
            continue
        images, effort = run.context.dataset.validation.images, Effort.full(group[0])
        names = ", ".join(profile.name for profile in group)
        on_process = _Processes(run.meter, names, effort.processes, planned_s / len(groups) / effort.processes)
        timed = partial(measure_each, workloads, group[0], images, effort, left_out, on_process)
        measured = final.time_fully(_together(setting, workloads), group, workloads, timed)
        timings.update({profile.name: measured for profile in group if measured})
    return timings


def _together(setting: str, workloads: Sequence[Workload]) -> str:
    """What a measurement is of: a setting, and the operating points."""
    points = json.dumps(sorted((workload.key, workload.operating_points) for workload in workloads))
    return f"{setting} {hashlib.sha256(points.encode()).hexdigest()[:16]}"


class _Processes:
    """Tells the meter of each process of one setting that has measured; one of the least wanted is `share_s` of it."""

    def __init__(self, meter: Meter, names: str, least: int, share_s: float) -> None:
        self._meter, self._names, self._least, self._share_s = meter, names, least, share_s
        self._before = time.monotonic()

    def __call__(self, number: int) -> None:
        text, now = f"latency on {self._names}, process {number}", time.monotonic()
        if number <= self._least:
            self._meter.add(MEASURE, self._share_s, f"{text}/{self._least}")
        else:
            self._meter.add(ALLOWANCE, now - self._before, f"{text}, until the intervals are narrow")
        self._before = now
