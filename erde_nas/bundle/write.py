"""A student of a run -> the folder to ship: models, segments, student.json, README.md and run.py.

Two exports of one run hold the same bytes. docs/deploy.md explains every field of student.json.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from erde_nas import __version__
from erde_nas.bundle.card import model_card
from erde_nas.bundle.formats import EXTRA_FORMATS, chosen_formats
from erde_nas.bundle.measured_student import MeasuredStudent
from erde_nas.bundle.student_file import (
    FILE,
    SCHEMA,
    Conditions,
    ImageInput,
    MeasuredOn,
    Normalisation,
    Provenance,
    ShippedBaseline,
    ShippedData,
    ShippedModel,
    StudentFile,
)
from erde_nas.bundle.trade_offs import measured_latency, measured_row, trade_offs
from erde_nas.data.kind import licence
from erde_nas.device import bundle_runner as runner
from erde_nas.device.exit_rules import ExitRule, exit_rule
from erde_nas.errors import UserError
from erde_nas.files import Scratch, read_json, sweep_scratch, write_json
from erde_nas.networks.weights import read_weights
from erde_nas.onnx_files.nest import split
from erde_nas.onnx_files.rule_nodes import with_score
from erde_nas.recipe.profile import HERE
from erde_nas.recipe.recipe import Recipe
from erde_nas.report.points import baseline_name
from erde_nas.report_data.json_records import to_json
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import ProfileFacts, Report
from erde_nas.run.folder import existing_run

COLOURS = {1: "gray (ITU-R 601)", 2: "gray (ITU-R 601) and alpha", 3: "RGB", 4: "RGB and alpha"}

# Where a network normalises: one of our own, a cascade's first, one of the user's.
NORMALISED = ("segments.0.body.0", "first.segments.0.body.0", "segments.0.body.0.normalize")


def write_bundle(student: MeasuredStudent, to: Path, formats: tuple[str, ...] = (), default: str = "") -> list[Path]:
    """Write the bundle to the new or empty folder `to`: all of it, or nothing. Returns its files, student.json last.

    `formats` besides ONNX; none: all that are installed. `default` is the file that is used if nothing else is said;
    empty: the cheapest of the most accurate ones. Raises UserError where `to` holds anything, a format is not
    installed, or a file of the run is missing or damaged.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"--to {to} exists already; give a new folder")
    to, chosen = to.resolve(), chosen_formats(formats)
    to.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{to.name}.erde-nas-"
    sweep_scratch(to.parent, prefix)
    with Scratch(prefix, to.parent) as staging:
        folder = Path(staging) / "bundle"
        folder.mkdir()
        files = _fill(student, folder, chosen, default)
        os.replace(folder, to)
    return [to / name for name in files]


def _fill(student: MeasuredStudent, folder: Path, formats: tuple[str, ...], default: str) -> list[str]:
    described = describe(student, default)
    models = write_onnx_models(student, folder)
    others = {name: entry for form in formats for name, entry in EXTRA_FORMATS[form](student, folder).items()}
    described = replace(described, models=models, other_formats=others)
    shutil.copyfile(str(runner.__file__), folder / "run.py")
    (folder / "README.md").write_text(model_card(described), encoding="utf-8")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    described = replace(described, files={name: _fingerprint(folder / name) for name in files})
    write_json(folder / FILE, to_json(described))
    return [*files, FILE]


def _fingerprint(path: Path) -> dict[str, str | int]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def write_onnx_models(student: MeasuredStudent, folder: Path) -> dict[str, ShippedModel]:
    """The nested files for single images, and their segments for batches."""
    models = {}
    (folder / "segments").mkdir()
    for name, path in student.files.items():
        shutil.copyfile(path, folder / name)
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        segments = _scored(split(model), exit_rule(student.exported[name].exit_rule))
        names = [f"segments/{Path(name).stem}-{number}.onnx" for number in range(len(segments))]
        for segment_name, segment in zip(names, segments, strict=True):
            onnx.save(segment, folder / segment_name)
        reasons = dict.fromkeys(point.reason for point in student.by_model[name] if point.reason)
        models[name] = ShippedModel(
            format="onnx",
            runtime="onnxruntime",
            precision=student.exported[name].precision,
            instructions=tuple(student.exported[name].instructions),
            thresholds=tuple(student.exported[name].thresholds),
            segments=tuple(names),
            offered=student.is_offered(name),
            reasons=tuple(reasons),
        )
    return models


def _scored(segments: Sequence[onnx.ModelProto], rule: ExitRule) -> list[onnx.ModelProto]:
    """All but the last give the exit's score as well, so that `run.py` need not know the rule."""
    return [*(with_score(segment, number, rule) for number, segment in enumerate(segments[:-1])), segments[-1]]


def describe(student: MeasuredStudent, default: str = "") -> StudentFile:
    """student.json without its models and files."""
    report, store = student.report, existing_run(student.run)
    recipe = store.recipe()
    best = default or student.best(recipe.search.accuracy_tolerance)
    files = {point.file for points in student.by_model.values() for point in points}
    compared = [report.teacher, *report.baselines]
    return StudentFile(
        schema=SCHEMA,
        student=student.name,
        stage=student.default_point(best).stage,
        input=_input(student, best),
        output={"logits": "before softmax, one per class", "exit_index": "counted from 0"},
        classes=tuple(student.exported[best].classes),
        default=measured_row(best, student.default_point(best)),
        trade_offs=tuple(trade_offs(student, student.shipped())),
        profiles={name: _conditions(profile) for name, profile in report.profiles.items()},
        measurements=tuple(point for points in student.by_model.values() for point in points),
        baselines=tuple(_baseline(point) for point in compared if point is not None and point.file not in files),
        arch=read_json(student.folder / "arch.json"),
        data=ShippedData(
            name=report.dataset.name,
            train=report.dataset.train,
            validation=report.dataset.validation,
            test=report.dataset.test,
            fingerprint=store.manifest().identity["dataset"],
            licence=licence(report.dataset.name),
            section=recipe.dataset.model_dump(mode="json", exclude={"path"}),
        ),
        provenance=_provenance(recipe, report),
        exit_rule=report.exit_rule,
        models={},
        other_formats={},
    )


def _input(student: MeasuredStudent, model: str) -> ImageInput:
    channels, height, width = student.exported[model].image_shape
    return ImageInput(
        name="image",
        channels=channels,
        size=height if height == width else (height, width),
        layout="batch, channel, row, column",
        pixels="uint8, 0 to 255",
        colour=COLOURS[channels],
        normalisation=_normalisation(student.folder / "weights.safetensors"),
    )


def _normalisation(weights: Path) -> Normalisation:
    """Mean and standard deviation per channel, of pixels scaled to [0, 1], from the network's own first layer."""
    if not weights.is_file():
        raise UserError(f"{weights} is missing; restore it, or search in a new folder")
    tensors = {name: tensor.numpy() for name, tensor in read_weights(weights).items()}
    at = next((place for place in NORMALISED if f"{place}.scale" in tensors), None)
    if at is None:
        return Normalisation("in the network itself", (), ())
    std = 1 / (255 * tensors[f"{at}.scale"].astype(float).reshape(-1))
    mean = -tensors[f"{at}.shift"].astype(float).reshape(-1) * std
    rounded = [tuple(round(value, 6) for value in values.tolist()) for values in (mean, std)]
    return Normalisation("in the file", *rounded)


def _conditions(profile: ProfileFacts) -> Conditions:
    return Conditions(
        runtime=profile.runtime,
        device=profile.device,
        threads=profile.threads,
        batch_size=profile.batch_size,
        precision=profile.precision,
        description=profile.description,
        elsewhere=profile.target != HERE,
    )


def _baseline(point: Point) -> ShippedBaseline:
    return ShippedBaseline(
        label=baseline_name(point),
        role=point.role,
        stage=point.stage,
        val_accuracy=point.val_accuracy,
        test_accuracy=point.test_accuracy,
        test_accuracy_ci95=point.test_accuracy_ci95,
        macs=point.macs,
        latency_ms=measured_latency(point),
    )


def _provenance(recipe: Recipe, report: Report) -> Provenance:
    machine = report.environment
    return Provenance(
        made_with=f"erde-nas {__version__}",
        recipe=recipe.name,
        seed=recipe.search.seed,
        teacher=_teacher(recipe, report),
        measured_on=MeasuredOn(machine.cpu, machine.cores, machine.platform, machine.versions),
    )


def _teacher(recipe: Recipe, report: Report) -> str:
    """Where the teacher comes from; of a checkpoint the file's name alone, since paths belong to a machine."""
    teacher, check = recipe.teacher, report.teacher_check
    if any("program" in (point.arch or {}) for point in report.points):  # exits alone
        assert recipe.space.own is not None
        return f"the network itself, {Path(recipe.space.own).name}, which is its last exit"
    if check is not None and not check.trusted:
        return "labels alone, since the teacher was worse than a student without it"
    if teacher.checkpoint is not None:
        return f"checkpoint {Path(teacher.checkpoint).name}" + (f" of timm's {teacher.timm}" if teacher.timm else "")
    return f"{teacher.model or teacher.family}, trained in the run"
