"""What a run has found -> the report model (pareto.json)."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np

from erde_nas.data.summary import images_per_class
from erde_nas.device.machine import Machine, describe_machine
from erde_nas.front.latency import Latency
from erde_nas.front.point import Point
from erde_nas.measurement.profile_kinds import kinds_of
from erde_nas.measurement.target import machine_of
from erde_nas.pareto import non_dominated
from erde_nas.rank_correlation import rank_correlation
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.results.measured import read_measured
from erde_nas.results.offer import front_hypervolumes, offer
from erde_nas.run.context import RunContext
from erde_nas.run.folder import RunStore
from erde_nas.searching.forecast import Forecast
from erde_nas.searching.objectives import objective_names
from erde_nas.searching.rank_check import rank_check_report
from erde_nas.space.trial import Trial, judged_students

PACKAGES = ("torch", "onnxruntime", "onnx", "optuna", "nni", "torch-pruning", "ptflops", "scipy", "numpy")


def assemble(run: RunContext, interrupted: bool) -> dict[str, Any]:
    """The report model. Searched students that were not finished appear as estimated points, which are not offered."""
    recipe, profiles, dataset = run.context.recipe, run.context.profiles, run.context.dataset
    trials, measured = run.store.trials(), read_measured(run.store)
    teacher, baselines = measured.teacher, measured.baselines
    points, fronts = offer(measured.points, profiles, parents_of(run.store, measured.students))
    why = "the run was interrupted before it was finished" if interrupted else "not on the shortlist"
    points += [
        _searched(trial, profiles, why) for trial in searched_front(trials) if trial.student not in measured.students
    ]
    machine = describe_machine()
    return {
        "schema": 1,
        "objectives": objective_names(recipe.search, profiles),
        "dataset": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
            "image_shape": list(dataset.train.images.shape[1:]),
            "images_per_class": images_per_class(dataset),
            "remarks": list(dataset.remarks),
        },
        "teacher": None if teacher is None else teacher.to_dict(),
        "baselines": [point.to_dict() for point in baselines],
        "points": [point.to_dict() for point in points],
        "hypervolume": {} if teacher is None else front_hypervolumes(points, fronts, teacher),
        "recipe": recipe.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "profiles": {profile.name: profile.model_dump(mode="json") for profile in profiles},
        "fronts": fronts,
        "searched": [_row(trial) for trial in trials],
        "rank_correlation": searched_and_finished(recipe.search.evaluator, trials, measured.points),
        "latency_model": _latency_model(run, trials),
        "rank_check": rank_check_report(run.store, recipe.search.evaluator, trials),
        "teacher_check": _teacher_check(run),
        "own_teacher": list(run.store.manifest().own_teacher),
        "environment": {
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
            "cpu": machine.cpu,
            "cores": machine.usable_cores,
            "accelerators": list(machine.accelerators),
            "platform": platform.platform(),
            "devices": {p.name: _device(machine_of(p)) for p in profiles if p.elsewhere},
            "timings_s": dict(run.store.manifest().timings_s),
        },
        "interrupted": interrupted,
        "unmeasured": measured.unmeasured,
        "left_out": measured.left_out,
    }


def _device(machine: Machine) -> dict[str, Any]:
    """Another machine that measured, as `environment` describes this one."""
    found = {"cpu": machine.cpu, "cores": machine.usable_cores, "accelerators": list(machine.accelerators)}
    return {**found, "platform": machine.system, "versions": dict(machine.runtimes)}


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


def searched_and_finished(evaluator: str, trials: Sequence[Trial], finished: Sequence[Point]) -> dict[str, Any] | None:
    """Whether the search ordered the students as their finished training does, each at its most accurate thresholds.

    None where fewer than three were finished.
    """
    searched = {student: judged.best_accuracy for student, judged in judged_students(trials).items()}
    best: dict[str, float] = {}
    for point in finished:
        if point.stage == "finished" and point.student in searched:
            best[point.student] = max(point.val_accuracy, best.get(point.student, 0.0))
    found = rank_correlation([searched[name] for name in best], list(best.values()))
    return None if found is None else {"evaluator": evaluator, **asdict(found)}


def _latency_model(run: RunContext, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """How well latency is predicted from what the search has measured, by profile with a limit on it."""
    forecast = Forecast(run.context.profiles, run.context.dataset)
    for trial in trials:
        forecast.learn(trial)
    return forecast.summary(run.store.manifest().latency_skipped or {})


def _teacher_check(run: RunContext) -> dict[str, Any] | None:
    """How the teacher compared with a student without it; None where that was not asked."""
    found = run.store.manifest().teacher_check
    return None if found is None else {**asdict(found), "trusted": found.trusted}


def _row(trial: Trial) -> dict[str, Any]:
    known = {key: getattr(trial.judged, key, None) for key in ("val_accuracy", "macs", "params", "latency_ms")}
    return {"student": trial.student, "state": trial.state, "reason": trial.reason, **known}


def _searched(trial: Trial, profiles: Sequence[HardwareProfile], why: str) -> Point:
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
