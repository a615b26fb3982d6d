"""Networks -> measured operating points: briefly timed files, those worth it in full, until what is offered stands."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from erde_nas.errors import UserError
from erde_nas.files import sha256_of
from erde_nas.measurement.candidate_latency import SCREENING
from erde_nas.measurement.failures import LeftOut, leaving_out, measure_each
from erde_nas.measurement.profile_kinds import all_kinds, measured_together
from erde_nas.measurement.statistics import Timing
from erde_nas.onnx_files.curve import curve_path
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.recipe.goal import GoalSection
from erde_nas.report_data.point import Point
from erde_nas.report_data.screened import ScreenedPoint
from erde_nas.results.candidates import to_measure
from erde_nas.results.cascades import cascade_files, cascade_points
from erde_nas.results.derived import cut_files, derived_files
from erde_nas.results.full_timing import measure_all
from erde_nas.results.network_files import (
    NetworkFile,
    TrainedNetwork,
    settle_int8,
    wanted_points,
    with_points,
    with_thresholds,
    write_files,
)
from erde_nas.results.network_points import points_of
from erde_nas.results.offers import fronts_of
from erde_nas.results.timings import FinalTimings
from erde_nas.run.context import RunContext
from erde_nas.run.pace import ALLOWANCE, BRIEF, EXPORT, FILE_S, MEASURE, measuring_s


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
    names = {trained.name for trained in networks}
    planned = measuring_s(sum(trained.cut_of not in names for trained in networks), run.pace)
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
        for name, found in measure_all(fresh, run, final, left_out, planned[MEASURE]).items():
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
    return [replace(point, sha256=sha256_of(run.store.folder / str(point.file))) for point in points], screened


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
