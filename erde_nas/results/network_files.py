"""Trained networks -> deployables in every precision, in their best form, with operating points chosen on validation.

Exported and quantized (compression/int8.py); what is measured briefly on the way decides between forms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from erde_nas.compression.int8 import Quantized, accurate, calibration_images, quantized
from erde_nas.device.exit_rules import ExitRule
from erde_nas.distil.context import TrainingContext
from erde_nas.errors import UserError
from erde_nas.files import Scratch
from erde_nas.measurement.candidate_latency import QUICK
from erde_nas.measurement.failures import LeftOut, leaving_out, measure_each
from erde_nas.measurement.latency import Workload
from erde_nas.measurement.profile_kinds import all_kinds, kinds_of, measured_together
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.cascade import Cascade
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import OperatingPoint, cheapest_within, operating_curve, spread
from erde_nas.networks.segmented import SegmentedNetwork
from erde_nas.onnx_files.curve import write_curve
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32, INT8, FileKind
from erde_nas.onnx_files.write import (
    ExportMismatch,
    Segments,
    check_export,
    fp32_segments,
    of_kind,
    write_file,
)
from erde_nas.recipe.goal import GoalSection
from erde_nas.report_data.point import Role, Stage
from erde_nas.results.point_choice import points_for


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network that waits to become files: a student, the teacher, or a baseline."""

    name: str
    network: nn.Module
    folder: Path
    stage: Stage
    macs_per_exit: tuple[float, ...]
    file_stem: str = "model"
    role: Role = "student"
    points: int = 3  # operating points at most
    cut_of: str = ""  # the student that this one is with fewer exits
    kept_exits: tuple[int, ...] = ()  # which of that one's it has
    cascade: tuple[str, ...] = ()  # the names of the two networks that it is made of
    floor: float | None = None  # its file answers by itself at the cheapest point that is as accurate on validation


@dataclass(frozen=True)
class NetworkFile:
    """A trained network's deployable of one kind, with the operating points chosen on validation."""

    trained: TrainedNetwork
    kind: FileKind
    path: Path
    segments: Segments
    val_logits: np.ndarray  # (exits, n, classes)
    points: tuple[OperatingPoint, ...] = ()
    mismatch: str = ""  # how it answers differently from its network
    quantized: Quantized | None = None
    curve: tuple[OperatingPoint, ...] = ()  # all that were to be had
    wanted: tuple[OperatingPoint, ...] = ()  # those of `points` that are measured whatever the others are
    whole: str = ""  # the key of the same student's file without early exits, where it is measured
    times: int = 0  # how often other points of this file were measured before

    @property
    def is_student(self) -> bool:
        return self.trained.role == "student" and isinstance(self.trained.network, SegmentedNetwork | Cascade)

    def exit_rule(self, context: TrainingContext) -> ExitRule:
        """The run's, fitted to what this file answers where it is one that is fitted."""
        return context.exit_rule.fitted(self.val_logits, context.dataset.validation.labels)

    @property
    def instructions(self) -> tuple[str, ...]:
        """Of which a CPU must have one for the file's accuracy; none: every CPU will do."""
        return self.quantized.how.instructions if self.quantized is not None else ()

    @property
    def key(self) -> str:
        again = f" again {self.times}" if self.times else ""
        return f"{self.trained.name}/{self.path.name}{again}"

    @property
    def workload(self) -> Workload:
        """What is timed of it: every exit, and the stream at its operating points."""
        points = tuple(point.thresholds for point in self.points)
        deployable = DeployableFile(self.path, self.trained.network)
        return Workload(self.key, deployable, len(self.val_logits), points, self.kind.precision, self.val_logits)


def write_files(trained: TrainedNetwork, context: TrainingContext, left_out: LeftOut) -> list[NetworkFile]:
    """Export a network in every precision, but for what fails; the thresholds follow once the costs are known."""
    validation, how = context.dataset.validation, context.int8
    network, calibration = trained.network.cpu().eval(), calibration_images(context)
    files: list[NetworkFile] = []
    with leaving_out(left_out, f"{trained.name}/{path_of(trained, FP32).name}"):
        fp32 = fp32_segments(network, validation.images.shape[1:])
        for kind in all_kinds(context.profiles):
            path = path_of(trained, kind)
            with leaving_out(left_out, f"{trained.name}/{path.name}"):
                made = of_kind(fp32, kind, calibration, how)
                own = all_logits(network, validation.images) if kind == FP32 else made.logits(validation.images)
                write_file(made, [0.0] * (len(own) - 1), path, {}, context.exit_rule)
                static = Quantized(made, how, "static") if kind == INT8 else None
                files.append(NetworkFile(trained, kind, path, made, own, quantized=static))
    return files


def path_of(trained: TrainedNetwork, kind: FileKind) -> Path:
    """Where the network's file of a kind lies."""
    return trained.folder / f"{trained.file_stem}{'' if kind == FP32 else f'.{kind}'}.onnx"


Wanted = Callable[[Sequence[OperatingPoint]], Sequence[OperatingPoint]]


def wanted_points(
    goal: GoalSection | None, teacher: NetworkFile | None, quick: Mapping[str, Timing], labels: np.ndarray
) -> Wanted:
    """Which points of a curve a goal asks for, given the teacher's file; none where that is not there."""
    if goal is None or teacher is None or teacher.key not in quick:
        return lambda curve: ()
    ms = quick[teacher.key].per_exit[-1]
    accuracy = float((teacher.val_logits[-1].argmax(-1) == labels).mean())
    return lambda curve: points_for(curve, goal, accuracy, ms)


def with_points(file: NetworkFile, timing: Timing, context: TrainingContext, wanted: Wanted) -> NetworkFile:
    """Choose operating points by the file's own cost per exit, as briefly measured; and those that are `wanted`."""
    labels, tolerance = context.dataset.validation.labels, context.recipe.search.accuracy_tolerance
    objective = next((p.objective for p in context.profiles if file.kind in kinds_of(p)), "mean")
    curve = operating_curve(file.val_logits, labels, timing.per_exit, context.exit_rule, objective)
    by_mean = operating_curve(file.val_logits, labels, timing.per_exit, context.exit_rule)
    asked = tuple(wanted(by_mean)) if file.is_student else ()
    points = tuple(dict.fromkeys([*spread(curve, tolerance, file.trained.points), *asked]))
    return replace(file, points=points, wanted=asked, curve=tuple(curve))


def default_point(file: NetworkFile, tolerance: float) -> OperatingPoint:
    """The cheapest of the file's points that is as accurate as its network's floor, else within `tolerance` of the
    best."""
    floor = file.trained.floor
    enough = [point for point in file.points if floor is not None and point.accuracy >= floor - 1e-9]
    return min(enough, key=lambda point: point.cost) if enough else cheapest_within(file.points, tolerance)


def with_thresholds(file: NetworkFile, context: TrainingContext) -> NetworkFile:
    """Write the file with the default one of its points, and its curve beside it; an fp32 one is checked against
    PyTorch."""
    default = default_point(file, context.recipe.search.accuracy_tolerance)
    metadata = {
        "student": file.trained.name,
        "dataset": context.dataset.name,
        "classes": "\n".join(context.dataset.classes),
        "precision": file.kind.precision,
        "validation_accuracy": f"{default.accuracy:.4f}",
        "exit_fractions": " ".join(f"{share:.4f}" for share in default.exit_fractions),
        **({} if file.quantized is None else {"instructions": " ".join(file.instructions)}),
    }
    rule, images = file.exit_rule(context), context.dataset.validation.images
    write_file(file.segments, default.thresholds, file.path, metadata, rule)
    write_curve(file.path, file.curve)
    if file.kind == FP32:
        try:
            check_export(file.path, file.trained.network, images, default.thresholds, rule)
        except ExportMismatch as error:
            return replace(file, mismatch=str(error))
    return file


def settle_int8(
    files: Sequence[NetworkFile], context: TrainingContext, say: Callable[[str], None]
) -> list[NetworkFile]:
    """Students' int8 files in their best form: heads in int8 where measured faster, and accurate enough where the file
    is faster than fp32 at all. Measured briefly under the first profile that allows int8.

    Where a better form cannot be made or measured, the file stays as it is."""
    groups = [group for group in measured_together(context.profiles).values() if INT8 in all_kinds(group)]
    fp32 = {file.trained: file for file in files if file.kind == FP32}
    students = [file for file in files if file.kind == INT8 and file.is_student and file.trained in fp32]
    if not groups or not students:
        return list(files)
    images, heads, failed = calibration_images(context), dict[str, Quantized](), LeftOut()
    with Scratch() as folder:
        workloads = [choice.workload for file in students for choice in (file, fp32[file.trained])]
        for number, file in enumerate(students):
            path = Path(folder) / f"{number}.onnx"
            with leaving_out(failed, f"{file.key} heads"):
                made = quantized(fp32[file.trained].segments.models, replace(context.int8, heads=True), images)
                write_file(made.segments, [0.0] * (len(file.val_logits) - 1), path, {}, context.exit_rule)
                heads_file = DeployableFile(path, file.trained.network)
                workloads.append(replace(file.workload, key=f"{file.key} heads", deployable=heads_file))
                heads[file.key] = made
        try:
            timed = measure_each(workloads, groups[0][0], context.dataset.validation.images, QUICK, failed)
        except UserError:  # said where all is measured
            return list(files)
    settled = {}
    for file in students:
        with leaving_out(failed, file.key):
            best = _best_form(file, fp32[file.trained], heads.get(file.key), timed, context, say)
            settled[file.key] = file if best is file.quantized else _requantized(file, best, context)
    return [settled.get(file.key, file) for file in files]


def _best_form(
    file: NetworkFile,
    fp32: NetworkFile,
    heads: Quantized | None,
    timed: Mapping[str, Timing],
    context: TrainingContext,
    say: Callable[[str], None],
) -> Quantized:
    """The faster of a student's int8 forms, made accurate enough where it is faster than fp32."""
    assert file.quantized is not None
    last = {key: timing.per_exit[-1] for key, timing in timed.items()}
    forms = {file.key: file.quantized} | ({} if heads is None else {f"{file.key} heads": heads})
    known = {key: form for key, form in forms.items() if key in last}
    if not known or fp32.key not in last:
        return file.quantized
    fastest = min(known, key=lambda key: last[key])
    if last[fastest] >= last[fp32.key]:
        return known[fastest]
    return accurate(known[fastest], fp32.segments.models, file.trained.folder, context, say)


def _requantized(file: NetworkFile, made: Quantized, context: TrainingContext) -> NetworkFile:
    logits = made.segments.logits(context.dataset.validation.images)
    write_file(made.segments, [0.0] * (len(logits) - 1), file.path, {}, context.exit_rule)
    return replace(file, segments=made.segments, val_logits=logits, quantized=made)
