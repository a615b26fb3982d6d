"""Trained networks -> measured operating points, in every precision that a profile allows, then read on test."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from erde_nas.distil.teachers.wrapper import ForeignTeacher
from erde_nas.errors import UserError
from erde_nas.measurement.candidate_latency import QUICK
from erde_nas.measurement.failures import LeftOut, leaving_out, measure_each
from erde_nas.measurement.latency import Effort, Workload
from erde_nas.measurement.profile_kinds import all_kinds, measured_together
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork, drop_early_exits
from erde_nas.networks.weights import load_network
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.progress.meter import Meter
from erde_nas.recipe.goal import GoalSection
from erde_nas.report.points import ROLE_NAMES
from erde_nas.report_data.point import Point, Stage
from erde_nas.results.measured_file import Measured, read_measured, write_measured
from erde_nas.results.network_files import (
    NetworkFile,
    TrainedNetwork,
    all_without_exits,
    settle_int8,
    wanted_points,
    with_points,
    write_files,
)
from erde_nas.results.network_points import points_of, without_file
from erde_nas.results.timings import FinalTimings
from erde_nas.run.context import RunContext
from erde_nas.run.pace import ALLOWANCE, BRIEF, EXPORT, FILE_S, MEASURE, measuring_s


def measure_run(run: RunContext, students: Sequence[str], again: bool, goal: GoalSection | None = None) -> None:
    """Deploy, measure and test the students with teacher and baselines, unless that is done and not wanted `again`.

    Profiles whose device is lost stay without numbers; the next call measures those. With a `goal`, the operating
    points that it asks for are among those measured.
    """
    before = read_measured(run.store)
    if set(before.students) == set(students) and not before.unmeasured and not again:
        return
    final, left_out = FinalTimings(run.store.folder, again, run.meter.say), LeftOut()
    teacher, baselines = _teachers(run)
    networks = _students(run, students, left_out)
    twin = None
    with leaving_out(left_out, ROLE_NAMES["student_without_exits"]):
        whole = _without_exits(run, networks)
        twin = next((trained for trained in networks if _same(trained, whole)), None)  # measured once, as what it is
        baselines += [] if twin else [whole]
    points = measure_networks([teacher, *baselines, *networks], run, final, left_out, goal)
    compared = [point for point in points if point.role != "student"]
    if all(point.role != "teacher" or point.stage == "quantized" for point in compared):
        compared.insert(0, without_file(teacher, run.context))
    if twin:
        compared += [replace(point, role="student_without_exits") for point in points if point.student == twin.name]
    first = _teacher_point([point for point in compared if point.role == "teacher"])
    others = tuple(point for point in compared if point.file != first.file)
    rest = tuple(point for point in points if point not in compared)
    write_measured(run.store, Measured(tuple(students), first, others, rest, final.lost, left_out))
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
    stage: Stage = "pruned" if record is not None and record.stage == "pruned" else "finished"
    return TrainedNetwork(name, network, run.store.student(name), stage, _macs(network))


def _without_exits(run: RunContext, networks: Sequence[TrainedNetwork]) -> TrainedNetwork:
    """The finished student that is best on validation when nothing leaves early, with its early heads removed."""
    validation = run.context.dataset.validation

    def accuracy(trained: TrainedNetwork) -> float:
        return float((all_logits(trained.network, validation.images)[-1].argmax(-1) == validation.labels).mean())

    best = max((trained for trained in networks if trained.stage == "finished"), key=accuracy)
    network = drop_early_exits(best.network)  # type: ignore[arg-type]
    return TrainedNetwork(
        best.name, network, best.folder, "finished", _macs(network), "no-exits", "student_without_exits", 1
    )


def _same(trained: TrainedNetwork, other: TrainedNetwork) -> bool:
    """Whether two networks are the same: a student with one exit is the same without exits."""
    ours, theirs = trained.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _macs(network: EarlyExitNetwork) -> tuple[float, ...]:
    return tuple(map(float, macs_per_exit(network)))


def measure_networks(
    networks: Sequence[TrainedNetwork],
    run: RunContext,
    final: FinalTimings,
    left_out: LeftOut,
    goal: GoalSection | None = None,
) -> list[Point]:
    """Deploy, measure and test all networks, all in the same processes so that their ratios are comparable.

    A student's file that does not answer as its network gives points that are not offered; whatever fails gives none,
    and its reason in `left_out`. `final` gets the timings, and the profiles that cannot be measured. Raises UserError
    where none can.
    """
    context, validation = run.context, run.context.dataset.validation
    planned = measuring_s(len(networks), run.pace)
    run.meter.plan(planned, fixed=[ALLOWANCE])
    with run.store.timed(EXPORT):
        files = []
        for trained in networks:
            files += write_files(trained, context, left_out)
            run.meter.add(EXPORT, FILE_S / 2, trained.name)
        files = settle_int8(files, context, lambda text: run.meter.add(EXPORT, 0.0, text))
    final.open([file.workload for file in files])
    for group in measured_together(context.profiles).values():
        fresh = [file.workload for file in files if file.kind in all_kinds(group) and file.key not in final.quick]
        if fresh:
            timed_quickly = partial(measure_each, fresh, group[0], validation.images, QUICK, left_out)
            final.time_quickly(group, timed_quickly)
            run.meter.add(MEASURE, BRIEF * run.pace.probe.process_s, "the cost of every exit")
    if not final.quick:
        raise UserError("; ".join(dict.fromkeys([*final.lost.values(), *left_out.values()])))
    with TemporaryDirectory(prefix="erde-nas-") as folder:
        with run.store.timed(EXPORT):
            files = _pointed(files, run, final, left_out, goal)
            extra = dict(all_without_exits(files, context, Path(folder), left_out))
        timings = _measure_all(files, extra, run, final, left_out, planned[MEASURE])
    timed = [file for file in files if any(file.key in measured for measured in timings.values())]
    if not timed:
        raise UserError("; ".join(dict.fromkeys([*final.lost.values(), *left_out.values()])))
    points = []
    for file in timed:
        with leaving_out(left_out, file.key):
            points += points_of(file, context, timings, run.store.folder, left_out)
    return points


def _pointed(
    files: Sequence[NetworkFile], run: RunContext, final: FinalTimings, left_out: LeftOut, goal: GoalSection | None
) -> list[NetworkFile]:
    """The files that were timed briefly, with their operating points; a baseline must answer as its network does."""
    context, kinds = run.context, len({file.kind for file in files})
    teacher = next((file for file in files if file.trained.role == "teacher" and file.kind == FP32), None)
    wanted = wanted_points(goal, teacher, final.quick, context.dataset.validation.labels)
    pointed = []
    for file in files:
        if file.key not in final.quick:
            continue
        with leaving_out(left_out, file.key):
            found = with_points(file, final.quick[file.key], context, wanted)
            if found.mismatch and file.trained.role != "student":
                left_out[file.key] = found.mismatch
            else:
                pointed.append(found)
        run.meter.add(EXPORT, FILE_S / 2 / kinds, f"{file.trained.name}, checked")
    return pointed


def _measure_all(
    files: Sequence[NetworkFile],
    extra: Mapping[str, Workload],
    run: RunContext,
    final: FinalTimings,
    left_out: LeftOut,
    planned_s: float,
) -> dict[str, dict[str, Timing]]:
    """The timings of all files by profile and key; `extra` are measured beside the files whose keys they have."""
    timings: dict[str, dict[str, Timing]] = {}
    groups = measured_together(run.context.profiles)
    for setting, group in groups.items():
        served = [file for file in files if file.kind in all_kinds(group)]
        workloads = [file.workload for file in served] + [extra[f.key] for f in served if f.key in extra]
        images, effort = run.context.dataset.validation.images, Effort.full(group[0])
        names = ", ".join(profile.name for profile in group)
        on_process = _Processes(run.meter, names, effort.processes, planned_s / len(groups) / effort.processes)
        timed = partial(measure_each, workloads, group[0], images, effort, left_out, on_process)
        measured = final.time_fully(setting, group, workloads, timed)
        timings.update({profile.name: measured for profile in group if measured})
    return timings


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
