"""Files with operating points and brief timings -> what of them is measured in full."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from erde_nas.distil.context import TrainingContext
from erde_nas.measurement.profile_kinds import kinds_of, measured_together
from erde_nas.networks.operating_points import OperatingPoint
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.screened import ScreenedPoint
from erde_nas.report_data.uncertainty import significant
from erde_nas.results.derived import without_exits
from erde_nas.results.network_files import NetworkFile
from erde_nas.results.screening import Candidate, Span, brief_span, screen
from erde_nas.results.timings import FinalTimings

MACS = "macs"
Unfirm = Mapping[tuple[str, tuple[float, ...]], Collection[str]]
"""Fronts on which a file's point, given by the file's path and its thresholds, turned out not to stand."""


def to_measure(
    files: Sequence[NetworkFile], context: TrainingContext, final: FinalTimings, asked: Collection[str], unfirm: Unfirm
) -> tuple[list[NetworkFile], list[ScreenedPoint]]:
    """The files with those of their points that are worth a full measurement, and the others with the reason.

    Kept in any case are those of the teacher, of baselines, of the students `asked` for and what a goal wants; and,
    beside each file that can leave early, the same student that cannot.
    """
    places = [(file, point) for file in files for point in file.points]
    candidates = [_candidate(file, point, context, final, asked, unfirm) for file, point in places]
    out = screen(candidates)
    kept: dict[str, list[OperatingPoint]] = {file.key: [] for file in files}
    for index, (file, point) in enumerate(places):
        if index not in out:
            kept[file.key].append(point)
    by_key, whole = {file.key: file for file in files}, dict[str, str]()
    for file in files:
        beside = without_exits(file, by_key) if kept[file.key] else None
        if beside is not None:
            whole[file.key], kept[beside.key] = beside.key, list(beside.points)
    chosen = [
        replace(file, points=tuple(kept[file.key]), whole=whole.get(file.key, "")) for file in files if kept[file.key]
    ]
    screened = [
        _screened(file, point, candidates[index], out[index])
        for index, (file, point) in enumerate(places)
        if index in out and point not in kept[file.key]
    ]
    return chosen, screened


def _candidate(
    file: NetworkFile,
    point: OperatingPoint,
    context: TrainingContext,
    final: FinalTimings,
    asked: Collection[str],
    unfirm: Unfirm,
) -> Candidate:
    trained, images = file.trained, len(context.dataset.validation)
    costs, firm, beyond = dict[str, Span](), set[str](), list[str]()
    size, params = file.path.stat().st_size, sum(parameter.numel() for parameter in trained.network.parameters())
    macs = float(np.dot(point.exit_fractions, trained.macs_per_exit))
    served, all_wanted = 0, False
    for setting, group in measured_together(context.profiles).items():
        timing = final.brief(setting).get(file.key)
        for profile in (p for p in group if timing is not None and file.kind in kinds_of(p)):
            assert timing is not None
            served += 1
            all_wanted |= not profile.screen
            sampled = None if images <= profile.measure.stream_images else profile.measure.stream_images
            span = brief_span(timing, point.exit_fractions, profile.objective, sampled)
            mean = brief_span(timing, point.exit_fractions, "mean", sampled)
            exact = {"macs": macs, "params": params, "size_bytes": size}
            over = _over(profile, {"latency_ms": mean.low, **exact})
            if over:
                beyond.append(over)
                continue
            costs[profile.name] = span
            if not _over(profile, {"latency_ms": mean.high, **exact}):
                firm.add(profile.name)
    if file.kind != INT8 and (costs or not served):
        costs[MACS] = Span.exact(macs)
        firm |= {MACS} if firm else set()
    return Candidate(
        name=f"{trained.name} ({file.kind.precision})" if file.kind != FP32 else trained.name,
        val_accuracy=point.accuracy,
        costs=costs,
        firm=frozenset(() if trained.role != "student" else firm - set(unfirm.get(_place(file, point), ()))),
        kept=trained.role != "student" or trained.name in asked or point in file.wanted or all_wanted,
        beyond="; ".join(beyond) if served and not costs else "",
        units={name: " MACs" if name == MACS else " ms" for name in costs},
    )


def _place(file: NetworkFile, point: OperatingPoint) -> tuple[str, tuple[float, ...]]:
    return str(file.path), point.thresholds


def _over(profile: HardwareProfile, values: Mapping[str, float]) -> str:
    """The first limit of a profile that a point exceeds in any case, in words."""
    for key, value in values.items():
        limit = getattr(profile.limits, key)
        if limit is not None and value > limit:
            about = "at least " if key == "latency_ms" else ""
            return f"{key} {about}{significant(value)} is over {profile.name}'s limit {limit:.4g}"
    return ""


def _screened(file: NetworkFile, point: OperatingPoint, candidate: Candidate, reason: str) -> ScreenedPoint:
    return ScreenedPoint(
        student=file.trained.name,
        stage="quantized" if file.kind == INT8 else file.trained.stage,
        precision=file.kind.precision,
        thresholds=point.thresholds,
        exit_fractions=point.exit_fractions,
        val_accuracy=point.accuracy,
        macs=float(np.dot(point.exit_fractions, file.trained.macs_per_exit)),
        estimated_ms={name: span.value for name, span in candidate.costs.items() if name != MACS},
        reason=reason,
    )
