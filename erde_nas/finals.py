"""Trained networks -> measured operating points, in every precision that a profile allows, then read on test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from torch import nn

from erde_nas.deploy import ExportMismatch, Segments, check_export, make_segments, write_file
from erde_nas.errors import DeviceLost
from erde_nas.export.curve import write_curve
from erde_nas.files import read_json, write_json
from erde_nas.hardware import HardwareProfile
from erde_nas.ledger import Ledger
from erde_nas.measure.latency import Deployed, Effort, latency_record, measure
from erde_nas.measure.macs import macs_per_exit
from erde_nas.measure.policy import OperatingPoint, cheapest_within, operate, operating_curve, spread
from erde_nas.measure.pool import Timing
from erde_nas.quick_latency import QUICK, allowed, precisions, settings
from erde_nas.records import Dataset, Latency, Point, Stage
from erde_nas.run import FILE_S, Run
from erde_nas.shared import Shared
from erde_nas.store import RunStore
from erde_nas.students.infer import all_logits
from erde_nas.students.network import EarlyExitNetwork, drop_early_exits
from erde_nas.students.weights import load_network

EXPORT_S = 0.5  # of FILE_S


@dataclass(frozen=True)
class Entry:
    """A trained network to deploy: a student, the teacher, or a baseline."""

    name: str
    network: nn.Module
    folder: Path
    stage: Stage
    macs_per_exit: tuple[float, ...]
    file_stem: str = "model"
    label: str = ""
    points: int = 3  # operating points at most


@dataclass(frozen=True)
class _File:
    """One entry in one precision, with the operating points chosen on validation."""

    entry: Entry
    precision: str
    path: Path
    segments: Segments
    val_logits: np.ndarray  # (exits, n, classes)
    points: tuple[OperatingPoint, ...] = ()
    mismatch: str = ""  # how it answers differently from its network

    @property
    def key(self) -> str:
        return f"{self.entry.name}/{self.path.name}"

    @property
    def deployed(self) -> Deployed:
        points = tuple(point.thresholds for point in self.points)
        exits, network = len(self.val_logits), self.entry.network
        return Deployed(self.key, self.path, exits, points, network, self.precision, self.val_logits)


@dataclass(frozen=True)
class Measured:
    """What `measured.json` holds: all points of the last measurement, and the students that took part."""

    students: tuple[str, ...] = ()
    teacher: Point | None = None
    baselines: tuple[Point, ...] = ()
    points: tuple[Point, ...] = ()
    unmeasured: dict[str, str] = field(default_factory=dict)  # profiles whose device was lost, and how


def read_measured(store: RunStore) -> Measured:
    """The last measurement of a run; empty where there was none."""
    path = store.folder / "measured.json"
    if not path.is_file():
        return Measured()
    data = read_json(path)
    return Measured(
        tuple(data["students"]),
        Point.from_dict(data["teacher"]),
        tuple(Point.from_dict(point) for point in data["baselines"]),
        tuple(Point.from_dict(point) for point in data["points"]),
        data.get("unmeasured", {}),
    )


def measure_run(run: Run, students: Sequence[str], again: bool) -> None:
    """Deploy, measure and test the students with teacher and baselines, unless that is done and not wanted `again`.

    Profiles whose device is lost stay without numbers; the next call measures those.
    """
    before = read_measured(run.store)
    if set(before.students) == set(students) and not before.unmeasured and not again:
        return
    ledger = Ledger(run.store.folder, again)
    teacher, baselines = _teacher_entries(run)
    entries = [_student_entry(run, name) for name in students]
    baselines.append(_without_exits(run, entries))
    points = measure_entries(
        [teacher, *baselines, *entries],
        run.shared,
        run.store.folder,
        lambda seconds, text: run.meter.add("measure", seconds, text),
        ledger,
    )
    labels = {entry.label for entry in (teacher, *baselines)}
    compared = [point for point in points if point.label in labels]
    first = next(point for point in compared if point.label == teacher.label and point.stage != "quantized")
    write_json(
        run.store.folder / "measured.json",
        {
            "students": list(students),
            "teacher": first.to_dict(),
            "baselines": [_named(point).to_dict() for point in compared if point is not first],
            "points": [point.to_dict() for point in points if point not in compared],
            "unmeasured": ledger.lost,
        },
    )
    ledger.close()
    for name, reason in ledger.lost.items():
        run.meter.say(f"measure: profile {name} has no numbers: {reason}; the same command measures it later")


def _named(point: Point) -> Point:
    return replace(point, label=f"{point.label}, int8") if point.stage == "quantized" else point


def _teacher_entries(run: Run) -> tuple[Entry, list[Entry]]:
    """The teacher without early exits, and with them as a baseline where it has some."""
    folder, teacher, macs = run.store.folder / "teacher", run.shared.teacher, run.shared.teacher_macs
    network = teacher.early_exit
    if network is None:
        return Entry("teacher", teacher.network, folder, "finished", macs[-1:], "no-exits", "teacher", 1), []
    whole = drop_early_exits(network)
    plain = Entry("teacher", whole, folder, "finished", _macs(whole), "no-exits", "teacher", 1)
    return plain, [Entry("teacher", network, folder, "finished", macs, "model", "teacher with its own exits", 1)]


def _student_entry(run: Run, name: str) -> Entry:
    network = load_network(run.store.student(name) / "weights.safetensors")
    stage: Stage = "pruned" if run.store.metrics(name)["stage"] == "pruned" else "finished"
    return Entry(name, network, run.store.student(name), stage, _macs(network))


def _without_exits(run: Run, entries: Sequence[Entry]) -> Entry:
    """The finished student that is best on validation when nothing leaves early, with its early heads removed."""
    validation = run.shared.dataset.validation

    def accuracy(entry: Entry) -> float:
        return float((all_logits(entry.network, validation.images)[-1].argmax(-1) == validation.labels).mean())

    best = max((entry for entry in entries if entry.stage == "finished"), key=accuracy)
    network = drop_early_exits(best.network)  # type: ignore[arg-type]
    label = "best student without exits"
    return Entry(best.name, network, best.folder, "finished", _macs(network), "no-exits", label, 1)


def _macs(network: EarlyExitNetwork) -> tuple[float, ...]:
    return tuple(map(float, macs_per_exit(network)))


def measure_entries(
    entries: Sequence[Entry], shared: Shared, run_folder: Path, progress: Callable[[float, str], None], ledger: Ledger
) -> list[Point]:
    """Deploy, measure and test all entries, all in the same processes so that their ratios are comparable.

    A file that does not answer as its network gives points that are not offered. `progress` gets estimated seconds
    done and a text, `ledger` the timings, and the profiles whose device is lost. Raises DeviceLost where all are.
    """
    validation = shared.dataset.validation
    files = []
    for entry in entries:
        progress(EXPORT_S, f"export {entry.name}")
        files += _write(entry, shared)
    ledger.open([file.key for file in files])
    for group in settings(shared.profiles).values():
        fresh = [file.deployed for file in files if file.precision in allowed(group) and file.key not in ledger.quick]
        if fresh:
            ledger.time_quickly(group, partial(measure, fresh, group[0], validation.images, QUICK))
    if not ledger.quick:
        raise DeviceLost("; ".join(dict.fromkeys(ledger.lost.values())))
    files = [_with_points(file, ledger.quick[file.key], shared) for file in files if file.key in ledger.quick]
    timings: dict[str, dict[str, Timing]] = {}
    groups = settings(shared.profiles)
    for setting, group in groups.items():
        names = ", ".join(profile.name for profile in group)
        deployed = [file.deployed for file in files if file.precision in allowed(group)]
        effort = Effort.full(group[0])
        share = (FILE_S - EXPORT_S) * len(entries) * len(shared.profiles) / len(groups) / effort.processes

        def on_process(number: int, names: str = names, share: float = share, least: int = effort.processes) -> None:
            more = f"/{least}" if number <= least else ", until the intervals are narrow"
            progress(share if number <= least else 0.0, f"latency on {names}, process {number}{more}")

        measured = ledger.time_fully(
            setting, group, partial(measure, deployed, group[0], validation.images, effort, on_process)
        )
        timings.update({profile.name: measured for profile in group if measured})
    timed = [file for file in files if any(file.key in measured for measured in timings.values())]
    if not timed:
        raise DeviceLost("; ".join(dict.fromkeys(ledger.lost.values())))
    return [point for file in timed for point in _points(file, shared, timings, run_folder)]


def _write(entry: Entry, shared: Shared) -> list[_File]:
    """Export one entry in every precision; the thresholds follow once the costs are known."""
    validation = shared.dataset.validation
    network = entry.network.cpu().eval()
    calibration = validation.images[: shared.recipe.compress.calibration_images]
    files = []
    for precision, segments in make_segments(network, allowed(shared.profiles), calibration).items():
        logits = all_logits(network, validation.images) if precision == "fp32" else segments.logits(validation.images)
        path = entry.folder / f"{entry.file_stem}{'' if precision == 'fp32' else '.' + precision}.onnx"
        write_file(segments, [0.0] * (len(logits) - 1), path, {})
        files.append(_File(entry, precision, path, segments, logits))
    return files


def _with_points(file: _File, timing: Timing, shared: Shared) -> _File:
    """Choose operating points by the file's own cost per exit, and write the file with the default one."""
    labels = shared.dataset.validation.labels
    tolerance = shared.recipe.search.accuracy_tolerance
    curve = operating_curve(file.val_logits, labels, timing.per_exit)
    default = cheapest_within(curve, tolerance)
    points = tuple(spread(curve, tolerance, file.entry.points))
    metadata = {
        "student": file.entry.name,
        "dataset": shared.dataset.name,
        "classes": "\n".join(shared.dataset.classes),
        "precision": file.precision,
        "validation_accuracy": f"{default.accuracy:.4f}",
        "exit_fractions": " ".join(f"{share:.4f}" for share in default.exit_fractions),
    }
    write_file(file.segments, default.thresholds, file.path, metadata)
    write_curve(file.path, curve)
    mismatch = ""
    if file.precision == "fp32":
        try:
            check_export(file.path, file.entry.network, shared.dataset.validation.images, default.thresholds)
        except ExportMismatch as error:
            mismatch = str(error)
    return replace(file, points=points, mismatch=mismatch)


def _points(file: _File, shared: Shared, timings: dict[str, dict[str, Timing]], run_folder: Path) -> list[Point]:
    """Read test, and write down every operating point of one file."""
    dataset, entry = shared.dataset, file.entry
    if file.precision == "fp32":
        test_logits = all_logits(entry.network, dataset.test.images)
    else:
        test_logits = file.segments.logits(dataset.test.images)
    stage: Stage = entry.stage if file.precision == "fp32" else "quantized"
    served = [p for p in shared.profiles if file.precision in precisions(p) and p.name in timings]
    wrong = {p.name: why for p in served if (why := timings[p.name][file.key].disagreement)}
    obstacle = file.mismatch or ("; ".join(f"{name}: {why}" for name, why in wrong.items()) if served else "")
    points = []
    for number, chosen in enumerate(file.points):
        latency = {
            profile.name: _latency(timings[profile.name][file.key], number, chosen, profile, file.precision)
            for profile in served
            if profile.name not in wrong
        }
        test = operate(test_logits, dataset.test.labels, entry.macs_per_exit, chosen.thresholds)
        points.append(
            Point(
                student=entry.name,
                stage=stage,
                arch=entry.network.arch.to_dict() if isinstance(entry.network, EarlyExitNetwork) else None,
                thresholds=chosen.thresholds,
                exit_fractions=chosen.exit_fractions,
                val_accuracy=chosen.accuracy,
                test_accuracy=test.accuracy,
                test_accuracy_ci95=confidence(test.accuracy, dataset),
                macs=float(np.dot(chosen.exit_fractions, entry.macs_per_exit)),
                macs_per_exit=entry.macs_per_exit,
                params=sum(parameter.numel() for parameter in entry.network.parameters()),
                size_bytes=file.path.stat().st_size,
                latency_ms=latency,
                file=str(file.path.relative_to(run_folder)),
                label=obstacle or entry.label,
                offered=bool(latency) and not file.mismatch,
                exit_accuracy=tuple(float(a) for a in (test_logits.argmax(-1) == dataset.test.labels).mean(1)),
            )
        )
    return points


def _latency(timing: Timing, stream: int, chosen: OperatingPoint, profile: HardwareProfile, precision: str) -> Latency:
    record = latency_record(timing, stream, chosen.exit_fractions, profile)
    return replace(record, precision=precision)


def confidence(accuracy: float, dataset: Dataset) -> tuple[float, float]:
    """Wilson's 95 % interval of a test accuracy."""
    interval = binomtest(round(accuracy * len(dataset.test)), len(dataset.test)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
