"""What a run has found -> its report (report_data/report.py)."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np

from erde_nas.data.dataset import Dataset
from erde_nas.data.summary import images_per_class
from erde_nas.device.exit_rules import exit_rule
from erde_nas.device.machine import Machine, describe_machine
from erde_nas.measurement.profile_kinds import kinds_of
from erde_nas.measurement.target import machine_of
from erde_nas.pareto import non_dominated
from erde_nas.rank_correlation import rank_correlation
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report.architecture import shape_text
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import (
    SCHEMA,
    DatasetFacts,
    DeviceFacts,
    Environment,
    ExitRuleFacts,
    LatencyModelFacts,
    ProfileFacts,
    Report,
    SearchedTrial,
    SearchRanks,
    TeacherCheck,
)
from erde_nas.report_data.screened import ScreenedPoint
from erde_nas.results.evidence import curves_of, students_of
from erde_nas.results.measured_file import read_measured
from erde_nas.results.offers import estimated_fronts, front_hypervolumes, offer
from erde_nas.results.pictures import pictures_of
from erde_nas.run.context import RunContext
from erde_nas.run.folder import RunStore
from erde_nas.searching.forecast import Forecast
from erde_nas.searching.objectives import objective_names
from erde_nas.searching.rank_check import rank_check_report
from erde_nas.space.trial import Trial, judged_students

PACKAGES = ("torch", "onnxruntime", "onnx", "optuna", "nni", "torch-pruning", "ptflops", "scipy", "numpy")


def build_report(run: RunContext, interrupted: bool) -> Report:
    """The report of what is finished. Searched students that are not appear as estimated points, which are not offered;
    where the run was interrupted before anything was measured, they have fronts of their own."""
    recipe, profiles, rule = run.context.recipe, run.context.profiles, exit_rule(run.context.recipe.exit_rule)
    trials, measured = run.store.trials(), read_measured(run.store)
    points, fronts = offer(measured.points, profiles, parents_of(run.store, measured.students))
    why = "the run was interrupted before it was finished" if interrupted else "not on the shortlist"
    rest = [trial for trial in searched_front(trials) if trial.student not in measured.students]
    searched = [searched_point(trial, profiles, why) for trial in rest]
    estimated = estimated_fronts(searched, profiles) if interrupted and not points else {}
    points += searched
    return Report(
        schema=SCHEMA,
        objectives=tuple(objective_names(recipe.search, profiles)),
        dataset=_dataset(run.context.dataset),
        teacher=measured.teacher,
        baselines=_baselines(measured.baselines, points),
        points=tuple(points),
        hypervolume={} if measured.teacher is None else front_hypervolumes(points, fronts, measured.teacher, profiles),
        recipe=recipe.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        exit_rule=ExitRuleFacts(rule.name, rule.text, rule.unit),
        profiles={profile.name: ProfileFacts(**profile.model_dump(mode="json")) for profile in profiles},
        fronts={name: tuple(front) for name, front in fronts.items()},
        estimated_fronts={name: tuple(front) for name, front in estimated.items()},
        searched=tuple(map(searched_trial, trials)),
        rank_correlation=searched_and_finished(recipe.search.evaluator, trials, [*measured.points, *measured.screened]),
        latency_model=_latency_model(run, trials),
        rank_check=rank_check_report(run.store, recipe.search.evaluator, trials),
        teacher_check=teacher_check(run.store),
        own_teacher=run.store.manifest().own_teacher,
        environment=_environment(run),
        interrupted=interrupted,
        unmeasured=measured.unmeasured,
        left_out=measured.left_out,
        screened=measured.screened,
        curves=curves_of(run.store.folder, points),
        students=students_of(run.store),
        pictures=pictures_of(run.context.dataset.test, points) if recipe.example_images else {},
    )


def _baselines(baselines: Sequence[Point], points: Sequence[Point]) -> tuple[Point, ...]:
    """A student that is a baseline as well is offered, or not, as the student that it is."""
    judged = {point.file: {p.thresholds: p for p in points if p.file == point.file} for point in points if point.file}
    return tuple(
        replace(judged.get(point.file or "", {}).get(point.thresholds, point), role=point.role) for point in baselines
    )


def _dataset(dataset: Dataset) -> DatasetFacts:
    return DatasetFacts(
        name=dataset.name,
        classes=tuple(dataset.classes),
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        image_shape=tuple(dataset.train.images.shape[1:]),
        images_per_class={part: tuple(counts) for part, counts in images_per_class(dataset).items()},
        remarks=tuple(dataset.remarks),
    )


def _environment(run: RunContext) -> Environment:
    machine = describe_machine()
    return Environment(
        python=platform.python_version(),
        versions={name: version(name) for name in PACKAGES},
        cpu=machine.cpu,
        cores=machine.usable_cores,
        accelerators=tuple(machine.accelerators),
        platform=platform.platform(),
        devices={p.name: _device(machine_of(p)) for p in run.context.profiles if p.elsewhere},
        timings_s=dict(run.store.manifest().timings_s),
    )


def _device(machine: Machine) -> DeviceFacts:
    """Another machine that measured, as `Environment` describes this one."""
    return DeviceFacts(
        cpu=machine.cpu,
        cores=machine.usable_cores,
        accelerators=tuple(machine.accelerators),
        platform=machine.system,
        versions=dict(machine.runtimes),
    )


def parents_of(store: RunStore, students: Sequence[str]) -> dict[str, str]:
    """Which student each pruned one was made from."""
    return {name: record.parent for name in students if (record := store.record(name)) and record.parent}


def searched_front(trials: Sequence[Trial]) -> list[Trial]:
    """The feasible trials that no other dominates in the search's own objectives."""
    feasible = [trial for trial in trials if trial.feasible]
    if not feasible:
        return []
    keep = non_dominated(np.array([trial.objectives for trial in feasible]))
    return [trial for trial, kept in zip(feasible, keep, strict=True) if kept]


def searched_and_finished(
    evaluator: str, trials: Sequence[Trial], finished: Sequence[Point | ScreenedPoint]
) -> SearchRanks | None:
    """Whether the search ordered the students as their finished training does, each at its most accurate thresholds.

    None where fewer than three were finished.
    """
    searched = {student: judged.best_accuracy for student, judged in judged_students(trials).items()}
    best: dict[str, float] = {}
    for point in finished:
        if point.stage == "finished" and point.student in searched:
            best[point.student] = max(point.val_accuracy, best.get(point.student, 0.0))
    found = rank_correlation([searched[name] for name in best], list(best.values()))
    return None if found is None else SearchRanks(evaluator, **asdict(found))


def _latency_model(run: RunContext, trials: Sequence[Trial]) -> dict[str, LatencyModelFacts]:
    """How well latency is predicted from what the search has measured, by profile with a limit on it."""
    forecast = Forecast(run.context.profiles, run.context.dataset)
    for trial in trials:
        forecast.learn(trial)
    return forecast.summary(run.store.manifest().latency_skipped or {})


def teacher_check(store: RunStore) -> TeacherCheck | None:
    """How the teacher compared with a student without it; None where that was not asked."""
    found = store.manifest().teacher_check
    return None if found is None else TeacherCheck(found.teacher, found.student, found.trusted)


def searched_trial(trial: Trial) -> SearchedTrial:
    """A trial as the report's search history has it."""
    row, judged = SearchedTrial(trial.student, trial.state, trial.reason), trial.judged
    if judged is not None:
        latency = dict(judged.latency_ms)
        row = replace(row, val_accuracy=judged.val_accuracy, macs=judged.macs, params=judged.params, latency_ms=latency)
    if trial.findings is None:
        return row
    return replace(row, shape=shape_text(trial.findings.arch.to_dict()), seconds=trial.findings.seconds)


def searched_point(trial: Trial, profiles: Sequence[HardwareProfile], why: str) -> Point:
    """A complete trial as a point that is not offered, and why; its latencies are estimated."""
    findings, judged = trial.findings, trial.judged
    assert findings is not None
    assert judged is not None
    latency = {
        profile.name: Latency(
            mean=None,
            p50=None,
            p95=None,
            p99=None,
            expected_mean=judged.latency_ms[profile.name],
            per_exit=findings.latency_per_exit_ms[profile.name],
            source="estimated",
            runtime=profile.runtime,
            device=profile.device,
            threads=profile.threads,
            batch_size=profile.batch_size,
            precision="/".join(kind.precision for kind in kinds_of(profile)),
        )
        for profile in profiles
        if profile.name in judged.latency_ms  # the others wait for the finished students
    }
    return Point(
        student=trial.student,
        stage="searched",
        arch=findings.arch.to_dict(),
        thresholds=judged.thresholds,
        exit_fractions=judged.exit_fractions,
        val_accuracy=judged.val_accuracy,
        test_accuracy=None,
        test_accuracy_ci95=None,
        macs=judged.macs,
        macs_per_exit=judged.macs_per_exit,
        params=judged.params,
        size_bytes=judged.size_bytes,
        latency_ms=latency,
        file=None,
        offered=False,
        reason=why,
    )
