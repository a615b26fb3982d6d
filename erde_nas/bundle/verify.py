"""A shipped folder -> whether it is whole, and what its numbers are on this machine."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from pydantic import TypeAdapter

from erde_nas.bundle.student_file import FILE, SCHEMA, Conditions, StudentFile, TradeOff
from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.load import load_dataset
from erde_nas.device import bundle_runner as runner
from erde_nas.device.exit_rules import exit_rule
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.errors import UserError
from erde_nas.files import checked, read_json
from erde_nas.measurement.profiling import profile_files
from erde_nas.networks.operating_points import operate
from erde_nas.onnx_files.metadata import read_metadata
from erde_nas.onnx_files.nest import split
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.profile import HERE, HardwareProfile
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point, as_today

TOLERANCE = 0.002  # of the images: sums in another order move those that lie on a threshold
NESTED = 64  # images that the nested file must answer as its segments do


@dataclass(frozen=True)
class AccuracyCheck:
    """The accuracy of one operating point on one split, as shipped and here, both of `images` images."""

    model: str
    thresholds: tuple[float, ...]
    split: str
    images: int
    shipped: float
    here: float

    @property
    def same(self) -> bool:
        """Whether both are the same but for images that lie on a threshold."""
        return abs(self.here - self.shipped) * self.images <= max(1.0, TOLERANCE * self.images) + 1e-6


@dataclass(frozen=True)
class LatencyCheck:
    """The default point under one profile, in milliseconds per image; `here` is None where `reason` says why."""

    profile: str
    model: str
    shipped_ms: float
    here: Latency | None = None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """What it takes here, in units of what was shipped."""
        return None if self.here_ms is None else self.here_ms / self.shipped_ms

    @property
    def here_ms(self) -> float | None:
        """Over the stream of validation images; without them expected from the cost of each exit."""
        if self.here is None:
            return None
        return self.here.expected_mean if self.here.mean is None else self.here.mean


@dataclass(frozen=True)
class Checks:
    """What was found out. `problems` are files that are not those that were shipped, and answers that differ;
    `remarks` say what could not be checked."""

    measured_on: str
    accuracy: tuple[AccuracyCheck, ...]
    latency: tuple[LatencyCheck, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def read_student(folder: Path) -> StudentFile:
    """student.json of a shipped folder. Raises UserError where there is none, or another schema."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no {FILE}; give a folder that `erde-nas export` wrote")
    student = checked(path, lambda: _student(read_json(path)), "export the student again")
    if student.schema != SCHEMA:
        raise UserError(f"{path} has schema {student.schema}, but this version reads {SCHEMA}; use its own run.py")
    return student


def _student(values: Any) -> StudentFile:
    if not isinstance(values, dict) or not isinstance(values.get("measurements"), list):
        raise ValueError("measurements: a list is required")
    today = {**values, "measurements": [as_today(point) for point in values["measurements"]]}
    return TypeAdapter(StudentFile).validate_json(json.dumps(today), strict=True)


def verify(folder: Path, data: Path | None, say: Callable[[str], None]) -> Checks:
    """Compare a shipped folder with what its student.json says: files by digest, accuracy on the data set where it is
    here (`data`: its folder or file), the latency of the default point under every profile that this machine may
    answer for. Files that do not fit are not run."""
    student = read_student(folder)
    problems = _damaged(folder, student)
    if problems:
        return Checks(student.provenance.measured_on.cpu, (), (), tuple(problems), ())
    say(f"files: all {len(student.files)} are those that were shipped")
    remarks = list[str]()
    dataset = _data_of(student, data, remarks)
    accuracy = list[AccuracyCheck]()
    for name in student.models:
        if dataset is not None:
            say(f"{name}: {len(dataset.validation)} validation and {len(dataset.test)} test images")
            accuracy += _accuracy(folder, name, student, dataset, problems)
    wrong = [check for check in accuracy if not check.same]
    problems += [
        f"{c.model} at thresholds {list(c.thresholds)} is right on {c.here:.2%} of {c.split}, not {c.shipped:.2%}"
        for c in wrong
    ]
    images = None if dataset is None else dataset.validation.images
    latency = [found for name in student.profiles if (found := _latency(folder, name, student, images, say))]
    return Checks(student.provenance.measured_on.cpu, tuple(accuracy), tuple(latency), tuple(problems), tuple(remarks))


def _damaged(folder: Path, student: StudentFile) -> list[str]:
    """The files that are not those of student.json."""
    problems = []
    for name, entry in student.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            problems.append(f"{name} lies outside of the folder")
        elif not path.is_file():
            problems.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            problems.append(f"{name} is not the file that was shipped")
    missing = [name for name in student.models if name not in student.files]
    return [*problems, *(f"{name} has no digest in {FILE}" for name in missing)]


def _data_of(student: StudentFile, data: Path | None, remarks: list[str]) -> Dataset | None:
    """The data set of the run, split as it was then; None, and why, where it is not here."""
    section: dict[str, Any] = dict(student.data.section)
    if not section:
        remarks.append("accuracy is not checked: the folder was exported before its data set's section was kept")
        return None
    own = "path" in _keys(section["name"])
    if own and data is None:
        remarks.append("accuracy is not checked: name the images with --data-dir")
        return None
    try:
        wanted = DatasetSection.model_validate({**section, **({"path": str(data)} if own else {})})
        dataset = load_dataset(wanted, None if own else data)
    except UserError as error:
        if data is not None:
            raise
        remarks.append(f"accuracy is not checked: {error}")
        return None
    if dataset.fingerprint != student.data.fingerprint:
        remarks.append("the data are not those of the run, so that accuracies may differ")
    return dataset


def _keys(name: str) -> tuple[str, ...]:
    from erde_nas.registry import DATASETS

    return tuple(DATASETS[name].keys)


def _accuracy(
    folder: Path, name: str, student: StudentFile, dataset: Dataset, problems: list[str]
) -> list[AccuracyCheck]:
    """Every measured point of one file, on validation and test."""
    exported = read_metadata(folder / name)
    rule, exact = exit_rule(exported.exit_rule), bool(runner.missing(exported.instructions))
    segments = [segment.SerializeToString() for segment in split(onnx.load(folder / name))]
    points = [point for point in student.measurements if point.file and Path(point.file).name == name]
    found, session = list[AccuracyCheck](), runner.open_session((folder / name).read_bytes(), exact=exact)
    for part, images in (("validation", dataset.validation), ("test", dataset.test)):
        logits = run_segments(segments, images.images, exact=exact)
        for point in points:
            shipped = point.val_accuracy if part == "validation" else point.test_accuracy
            if shipped is not None and len(images):
                here = operate(logits, images.labels, [1.0] * len(logits), point.thresholds, rule).accuracy
                found.append(AccuracyCheck(name, point.thresholds, part, len(images), shipped, here))
    if points and not _nested_alike(session, segments, dataset.validation, points[0], exact):
        problems.append(f"{name} answers otherwise than its segments")
    return found


def _nested_alike(session: Any, segments: list[bytes], images: Split, point: Point, exact: bool) -> bool:
    """Whether the file, run as it is shipped, gives the logits of the exit at which it says that an image left."""
    some = images.images[:NESTED]
    logits = run_segments(segments, some, exact=exact)
    for number, image in enumerate(some):
        answer, exit_ = runner.run_one(session, image, point.thresholds)
        if not np.allclose(answer, logits[exit_, number], rtol=1e-3, atol=1e-3 * np.abs(logits).max()):
            return False
    return True


def _latency(
    folder: Path, profile: str, student: StudentFile, images: np.ndarray | None, say: Callable[[str], None]
) -> LatencyCheck | None:
    """The default point under one profile; None where that did not time it."""
    default: TradeOff = student.default
    if profile not in default.latency_ms:
        return None
    check = LatencyCheck(profile, default.model, default.latency_ms[profile].mean)
    conditions: Conditions = student.profiles[profile]
    if conditions.elsewhere:
        return LatencyCheck(check.profile, check.model, check.shipped_ms, reason="it was measured on another device")
    here = HardwareProfile.model_validate(
        {
            "name": profile,
            "target": HERE,
            "runtime": conditions.runtime,
            "device": conditions.device,
            "threads": conditions.threads,
            "precision": conditions.precision,
            "batch_size": conditions.batch_size,
        }
    )
    say(f"latency of {default.model} under {profile}")
    try:
        point = (default.thresholds, default.exit_fractions)
        files, _ = profile_files([folder / default.model], here, images, point=point, say=say)
    except (UserError, ImportError) as error:
        return LatencyCheck(check.profile, check.model, check.shipped_ms, reason=str(error))
    return LatencyCheck(check.profile, check.model, check.shipped_ms, files[0].latency)
