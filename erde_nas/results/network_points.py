"""A trained network and the timings of its file -> its operating points, read on test."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from erde_nas.data.dataset import Dataset
from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.distil.context import TrainingContext
from erde_nas.measurement.failures import LeftOut
from erde_nas.measurement.latency import latency_record
from erde_nas.measurement.profile_kinds import kinds_of
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.cascade import Cascade
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import OperatingPoint, accuracy_per_exit, exit_indices, operate, scores
from erde_nas.networks.segmented import SegmentedNetwork
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point
from erde_nas.results.answers import answers_on_test
from erde_nas.results.network_files import NetworkFile, TrainedNetwork


def points_of(
    file: NetworkFile,
    context: TrainingContext,
    timings: Mapping[str, Mapping[str, Timing]],
    run_folder: Path,
    left_out: LeftOut,
) -> list[Point]:
    """Read test, and write down every operating point of one file. `timings` are by profile and file."""
    dataset = context.dataset
    if file.kind == FP32:
        test_logits = all_logits(file.trained.network, dataset.test.images)
    else:
        test_logits = file.segments.logits(dataset.test.images)
    served = [p for p in context.profiles if file.kind in kinds_of(p) and file.key in timings.get(p.name, {})]
    wrong = {p.name: why for p in served if (why := timings[p.name][file.key].disagreement)}
    obstacle = file.mismatch or "; ".join(f"{name}: {why}" for name, why in wrong.items())
    if wrong and file.trained.role != "student":
        left_out[file.key] = obstacle
    points, rule = [], file.exit_rule(context)
    for number, chosen in enumerate(file.points):
        point = _tested(file.trained, chosen, test_logits, context, rule)
        latency = {p.name: _latency(timings[p.name], file, number, p) for p in served if p.name not in wrong}
        points.append(
            replace(
                point,
                stage="quantized" if file.kind == INT8 else file.trained.stage,
                size_bytes=file.path.stat().st_size,
                latency_ms=latency,
                file=str(file.path.relative_to(run_folder)),
                offered=bool(latency) and not file.mismatch,
                reason=obstacle,
                quantization="" if file.quantized is None else file.quantized.text,
                instructions=file.instructions,
            )
        )
    return points


def _tested(
    trained: TrainedNetwork,
    chosen: OperatingPoint,
    logits: np.ndarray,
    context: TrainingContext,
    rule: ExitRule = ENTROPY,
) -> Point:
    """An operating point that was chosen on validation, with its accuracy on test; of its file nothing is known yet."""
    labels = context.dataset.test.labels
    accuracy = operate(logits, labels, trained.macs_per_exit, chosen.thresholds, rule).accuracy
    return Point(
        student=trained.name,
        stage=trained.stage,
        arch=trained.network.to_dict() if isinstance(trained.network, SegmentedNetwork) else None,
        thresholds=chosen.thresholds,
        exit_fractions=chosen.exit_fractions,
        val_accuracy=chosen.accuracy,
        test_accuracy=accuracy,
        test_accuracy_ci95=confidence(accuracy, context.dataset),
        macs=float(np.dot(chosen.exit_fractions, trained.macs_per_exit)),
        macs_per_exit=trained.macs_per_exit,
        params=sum(parameter.numel() for parameter in trained.network.parameters()),
        size_bytes=None,
        latency_ms={},
        file=None,
        role=trained.role,
        cascade=trained.cascade,
        averaged=trained.network.averaged if isinstance(trained.network, Cascade) else 0.0,
        offered=False,
        exit_accuracy=accuracy_per_exit(logits, labels),
        answers=answers_on_test(logits, labels, exit_indices(scores(rule, logits), chosen.thresholds)),
    )


def _latency(timings: Mapping[str, Timing], file: NetworkFile, stream: int, profile: HardwareProfile) -> Latency:
    record = latency_record(timings[file.key], stream, file.points[stream].exit_fractions, profile)
    whole = timings.get(file.whole)
    p50 = None if whole is None else whole.streams[0].p50
    return replace(record, precision=file.kind.precision, p50_without_exits=p50)


def without_file(trained: TrainedNetwork, context: TrainingContext) -> Point:
    """A baseline without exits of which no fp32 file could be deployed and measured: what PyTorch says of it."""
    validation = context.dataset.validation
    right = all_logits(trained.network, validation.images)[-1].argmax(-1) == validation.labels
    whole = OperatingPoint((), (1.0,), float(right.mean()), trained.macs_per_exit[-1])
    return _tested(trained, whole, all_logits(trained.network, context.dataset.test.images)[-1:], context)


def confidence(accuracy: float, dataset: Dataset) -> tuple[float, float]:
    """Wilson's 95 % interval of a test accuracy."""
    interval = binomtest(round(accuracy * len(dataset.test)), len(dataset.test)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
