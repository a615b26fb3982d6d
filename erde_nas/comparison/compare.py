"""The order of the stages of `erde-nas distil`: data, teacher, training, report."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from erde_nas.comparison.figure import figure_png
from erde_nas.comparison.manifest import keep_compute, keep_presets, open_comparison, read_manifest
from erde_nas.comparison.store import load_trained
from erde_nas.comparison.summary import summarise
from erde_nas.comparison.tables import csv_rows, markdown
from erde_nas.comparison.train_runs import missing_runs, place_of, train_runs
from erde_nas.data.dataset import Dataset, image_shape
from erde_nas.data.load import describe, load_dataset
from erde_nas.data.summary import describe_data
from erde_nas.distil.context import TrainingContext, pick_device, prepare, trainings_at_once
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.files import write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.networks.logits import all_logits
from erde_nas.progress.meter import Meter
from erde_nas.recipe.network import student_arch
from erde_nas.recipe.preset import Expanded
from erde_nas.recipe.recipe import Recipe
from erde_nas.run.folder import existing_run
from erde_nas.run.own_teacher import inspect_teacher
from erde_nas.space.findings import read_arch
from erde_nas.space.space import Space

Losses = Mapping[str, Expanded]


def run(
    recipe: Recipe,
    losses: Losses,
    seeds: int,
    out: Path,
    *,
    student: str | None,
    run: Path | None,
    device: str,
    data_dir: Path | None,
    meter: Meter,
) -> dict[str, Any]:
    """Train what is missing in `out`, write distil.{json,md,csv,png} there, and return what distil.json holds.

    The student is candidate `student` of the folder `run`, or the recipe's, or one of middling size of its space.
    """
    torch_device = pick_device(device)
    saved = None if run is None else existing_run(run).manifest().data_dir
    dataset = load_dataset(recipe.dataset, data_dir or (Path(saved) if saved else None))
    for line in describe_data(dataset):
        meter.say(line)
    arch = _student(recipe, dataset, student, run)
    presets = {name: loss.preset for name, loss in losses.items() if loss.preset is not None}
    if presets and student is not None:
        raise UserError(f"distil.preset belongs to the recipe's own student, not to --student {student}; leave one out")
    if recipe.dataset.validation == 0:
        meter.say(
            f"all {len(dataset.train)} training images are trained on: thresholds, too, are chosen on some of them"
        )
    for text in dict.fromkeys(loss.text for loss in losses.values() if loss.text):
        meter.say(text)
    inspect_teacher(recipe, (), dataset, torch_device, meter.say)
    planned = missing_runs(out, losses, seeds, recipe.finish.train)
    epochs = sum(run.loss.training.epochs for run in planned) / trainings_at_once(torch_device)
    with open_comparison(out, recipe, arch, {"dataset": dataset.fingerprint}):
        if presets:
            keep_presets(out, presets)

        def on_compute(compute: Compute, steps: float) -> None:
            keep_compute(out, compute)
            meter.plan({"train": epochs * steps * compute.seconds_per_step})

        context = prepare(
            recipe.model_copy(update={"train": recipe.finish.train}),
            (),
            dataset,
            torch_device,
            meter,
            typical=arch,
            epochs=max(loss.training.epochs for loss in losses.values()),
            known=read_manifest(out).compute,
            on_compute=on_compute,
        )
        try:
            train_runs(out, losses, seeds, arch, context, meter)
        except KeyboardInterrupt:
            with suppress(UserError):  # where nothing is finished yet
                write_comparison(out, arch, losses, seeds, context)
            raise
        return write_comparison(out, arch, losses, seeds, context)


def _student(recipe: Recipe, dataset: Dataset, student: str | None, run: Path | None) -> Arch:
    if student is not None and run is not None:
        path = run / "students" / student / "arch.json"
        if not path.is_file():
            known = sorted(p.parent.name for p in run.glob("students/*/arch.json"))
            raise UserError(f"{run} holds no student '{student}'; it has {', '.join(known) or 'none'}")
        return read_arch(path)
    shape, classes = image_shape(dataset), len(dataset.classes)
    if recipe.student is not None:
        return student_arch(recipe.student, shape, classes)
    return Space(recipe.space, shape, classes).middle()


def write_comparison(out: Path, arch: Arch, losses: Losses, seeds: int, context: TrainingContext) -> dict[str, Any]:
    """Report what is finished. Raises UserError where every run failed."""
    usual = context.recipe.finish.train
    runs = {
        name: [run for seed in range(seeds) if (run := load_trained(place_of(out, loss, seed, usual), name, seed))]
        for name, loss in losses.items()
    }
    if not any(runs.values()):
        raise UserError(
            f"every run in {out} failed; lower finish.train.learning_rate in the recipe, and use a new --out"
        )
    dataset = context.dataset
    summary = {
        **summarise(
            {name: loss.section for name, loss in losses.items()},
            runs,
            dataset.validation.labels,
            dataset.test.labels,
            context.exit_rule,
        ),
        "dataset": describe(dataset),
        "student": arch.id,
        "teacher": teacher_accuracy(context),
    }
    write_json(out / "distil.json", summary)
    write_atomic(out / "distil.md", lambda path: path.write_text(markdown(summary)))
    write_atomic(out / "distil.csv", lambda path: path.write_text(csv_rows(summary)))
    write_atomic(out / "distil.png", lambda path: path.write_bytes(figure_png(summary)))
    return summary


def teacher_accuracy(context: TrainingContext) -> dict[str, list[float]]:
    """Per exit: accuracy on test, and the share of cached training views that it gets right (ERDE's mask)."""
    test = all_logits(context.teacher.network, context.dataset.test.images)
    right = (context.logits.argmax(-1) == context.views.labels[None, :, None]).float().mean((0, 1))
    return {
        "test_accuracy": [float(a) for a in (test.argmax(-1) == context.dataset.test.labels).mean(1)],
        "right_in_training": [float(a) for a in right],
    }
