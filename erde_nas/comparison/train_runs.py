"""Train the student with every loss from every seed; what is finished is never trained again."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from erde_nas.comparison.store import TrainingRecord, folder_of, save_trained, save_training
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.training.together import train_together
from erde_nas.errors import TrainingFailed
from erde_nas.networks.arch import Arch
from erde_nas.networks.health import check_exits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import accuracy_per_exit
from erde_nas.progress.meter import Meter
from erde_nas.recipe.preset import Expanded
from erde_nas.recipe.recipe import Recipe


@dataclass(frozen=True)
class Planned:
    """A run that is not there yet."""

    name: str
    loss: Expanded
    seed: int
    folder: Path


@dataclass(frozen=True)
class ComparisonPlan:
    """What is compared, by name of the loss, each from so many seeds, and the folder of the comparison."""

    recipe: Recipe
    losses: Mapping[str, Expanded]
    seeds: int
    out: Path

    def folder(self, loss: Expanded, seed: int) -> Path:
        """Where a student is kept: by its loss, and by its training where that is not the recipe's."""
        usual = loss.training == self.recipe.finish.train
        return folder_of(self.out, loss.section, seed, None if usual else loss.training)

    def missing(self) -> list[Planned]:
        """Seed by seed, so that all losses have as many; two names of one loss are one training."""
        runs: dict[Path, Planned] = {}
        for seed in range(self.seeds):
            for name, loss in self.losses.items():
                folder = self.folder(loss, seed)
                if not (folder / "run.json").is_file():
                    runs.setdefault(folder, Planned(name, loss, seed, folder))
        return list(runs.values())


def train_runs(plan: ComparisonPlan, arch: Arch, context: TrainingContext, meter: Meter) -> None:
    """All seeds of a loss differ in weights, dropout and order; all losses share views, targets and the seeds."""
    planned = plan.missing()
    meter.plan({"train": sum(_seconds(run, context) for run in planned)})
    for text in sorted({context.uncached(arch, loss.section) for loss in plan.losses.values()} - {""}):
        meter.say(text)
    for start in range(0, len(planned), context.workers):
        group = planned[start : start + context.workers]
        head = f"{start + len(group)}/{len(planned)}"
        for run, outcome in zip(group, _train(group, head, arch, context, meter), strict=True):
            meter.say(f"train {head} {run.name}, seed {run.seed}: {outcome}")
    meter.close("train")


def _seconds(run: Planned, context: TrainingContext) -> float:
    return context.training_seconds(run.loss.training) / context.workers


def _train(group: Sequence[Planned], head: str, arch: Arch, context: TrainingContext, meter: Meter) -> Iterator[str]:
    """Train a group at once and keep each run; how each ended, in words."""
    begin = time.perf_counter()
    trainings = [
        context.training(context.build(arch, run.seed), run.loss.training, run.loss.section, run.seed) for run in group
    ]

    def progress(number: int, done: int, total: int) -> None:
        text = f"{head} {group[number].name}, seed {group[number].seed}, epoch {done}/{total}"
        meter.add("train", _seconds(group[number], context) / total, text)

    results = train_together(trainings, len(trainings), progress)
    seconds = time.perf_counter() - begin
    for run, training, result in zip(group, trainings, results, strict=True):
        yield _keep(run, training.network, result, context, seconds)


def _keep(
    run: Planned, network: EarlyExitNetwork, result: float | TrainingFailed, context: TrainingContext, seconds: float
) -> str:
    loss = run.loss
    training = TrainingRecord(
        run.name, loss.section.model_dump(mode="json"), run.seed, loss.training.model_dump(mode="json")
    )
    dataset = context.dataset
    try:
        if isinstance(result, TrainingFailed):
            raise result
        validation = all_logits(network, dataset.validation.images)
        check_exits(validation)
    except TrainingFailed as error:
        save_training(run.folder, replace(training, failed=str(error)))
        return f"failed: {error}"
    training = replace(training, macs_per_exit=macs_per_exit(network), last_loss=result, seconds=round(seconds, 1))
    save_trained(run.folder, validation, all_logits(network, dataset.test.images), training)
    accuracy = accuracy_per_exit(validation, dataset.validation.labels)
    return "validation accuracy per exit " + " / ".join(f"{100 * a:.1f}" for a in accuracy) + " %"
