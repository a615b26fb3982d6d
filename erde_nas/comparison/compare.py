"""The order of the stages of `erde-nas distil`: data, teacher, training, report."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from erde_nas.comparison.figure import figure_png
from erde_nas.comparison.manifest import keep_compute, keep_presets, open_comparison, read_manifest
from erde_nas.comparison.store import load_trained
from erde_nas.comparison.summary import summarise
from erde_nas.comparison.tables import csv_rows, markdown
from erde_nas.comparison.train_runs import ComparisonPlan, train_runs
from erde_nas.data.dataset import Dataset, square_shape
from erde_nas.data.load import describe, load_dataset
from erde_nas.data.summary import describe_data
from erde_nas.distil.context import TrainingContext, pick_device, trainings_at_once
from erde_nas.distil.prepare import Listener, prepare
from erde_nas.distil.task import Task
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.files import write_atomic, write_json
from erde_nas.networks.arch import Arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import accuracy_per_exit
from erde_nas.networks.own.base import saved_base
from erde_nas.progress import interrupt
from erde_nas.progress.meter import Meter
from erde_nas.recipe.network import student_arch
from erde_nas.recipe.recipe import Recipe
from erde_nas.run.folder import existing_run
from erde_nas.run.own_teacher import identity_of, inspect_teacher
from erde_nas.space.findings import read_arch
from erde_nas.space.space import Space


class _Keeper(Listener):
    """Keeps how steps run for later calls, and plans `epochs` of them."""

    def __init__(self, out: Path, meter: Meter, epochs: float) -> None:
        self._out, self._meter, self._epochs = out, meter, epochs

    def on_compute(self, compute: Compute, steps: float) -> None:
        """See `Listener`."""
        keep_compute(self._out, compute)
        self._meter.plan({"train": self._epochs * steps * compute.seconds_per_step})


def run(
    plan: ComparisonPlan,
    *,
    student: str | None,
    run: Path | None,
    device: str,
    data_dir: Path | None,
    meter: Meter,
) -> dict[str, Any]:
    """Train what is missing, write distil.{json,md,csv,png} into the plan's folder, and return what distil.json holds.

    The student is candidate `student` of the folder `run`, or the recipe's, or one of middling size of its space.
    """
    saved = None if run is None else existing_run(run).manifest().data_dir
    dataset = load_dataset(plan.recipe.dataset, data_dir or (Path(saved) if saved else None))
    usual = plan.recipe.finish.train
    task = Task(plan.recipe.model_copy(update={"train": usual}), (), dataset, pick_device(device))
    for line in describe_data(dataset):
        meter.say(line)
    arch = _student(plan.recipe, dataset, student, run)
    presets = _presets(plan, student)
    _say_first(plan, dataset, meter)
    inspect_teacher(task.recipe, (), dataset, task.device, meter.say)
    epochs = sum(planned.loss.training.epochs for planned in plan.missing()) / trainings_at_once(task.device)
    longest = max(loss.training.epochs for loss in plan.losses.values())
    with open_comparison(plan.out, plan.recipe, arch, _identity(plan.recipe, dataset, task)):
        if presets:
            keep_presets(plan.out, presets)
        known, keeper = read_manifest(plan.out).compute, _Keeper(plan.out, meter, epochs)
        context = prepare(task, meter, typical=arch, epochs=longest, known=known, listener=keeper)
        try:
            train_runs(plan, arch, context, meter)
        except KeyboardInterrupt:
            interrupt.answered()
            with suppress(UserError):  # where nothing is finished yet
                write_comparison(plan, arch, context)
            raise
        return write_comparison(plan, arch, context)


def _identity(recipe: Recipe, dataset: Dataset, task: Task) -> dict[str, str]:
    """What decides the results besides the recipe. The device was never part of it."""
    return {key: value for key, value in identity_of(recipe, dataset, task.device).items() if key != "device"}


def _presets(plan: ComparisonPlan, student: str | None) -> dict[str, Any]:
    """What presets bring, by loss. Raises UserError where the student is a candidate of a run."""
    presets = {name: loss.preset for name, loss in plan.losses.items() if loss.preset is not None}
    if presets and student is not None:
        raise UserError(f"distil.preset belongs to the recipe's own student, not to --student {student}; leave one out")
    return presets


def _say_first(plan: ComparisonPlan, dataset: Dataset, meter: Meter) -> None:
    """What is special about these trainings."""
    if plan.recipe.dataset.validation == 0:
        meter.say(
            f"all {len(dataset.train)} training images are trained on: thresholds, too, are chosen on some of them"
        )
    for text in dict.fromkeys(loss.text for loss in plan.losses.values() if loss.text):
        meter.say(text)


def _student(recipe: Recipe, dataset: Dataset, student: str | None, run: Path | None) -> Arch:
    if student is not None and run is not None:
        path = run / "students" / student / "arch.json"
        if not path.is_file():
            known = sorted(p.parent.name for p in run.glob("students/*/arch.json"))
            raise UserError(f"{run} holds no student '{student}'; it has {', '.join(known) or 'none'}")
        saved_base(run)  # of which a student of the user's own network is made
        return read_arch(path)
    shape, classes = square_shape(dataset), len(dataset.classes)
    if recipe.student is not None:
        return student_arch(recipe.student, shape, classes)
    if recipe.space.own is not None:
        raise UserError(
            "space.own: losses are compared on one student: write the recipe's student, or give --student and --run"
        )
    return Space(recipe.space, shape, classes).middle()


def write_comparison(plan: ComparisonPlan, arch: Arch, context: TrainingContext) -> dict[str, Any]:
    """Report what is finished. Raises UserError where every training failed."""
    out, losses = plan.out, plan.losses
    runs = {
        name: [run for seed in range(plan.seeds) if (run := load_trained(plan.folder(loss, seed), name, seed))]
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
        "test_accuracy": list(accuracy_per_exit(test, context.dataset.test.labels)),
        "right_in_training": [float(a) for a in right],
    }
