"""Students of a run, trained in place, many at once."""

from collections.abc import Iterator, Sequence

from erde_nas.distil.training.together import train_together
from erde_nas.errors import TrainingFailed
from erde_nas.networks.health import check_exits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork, on_device
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.run.context import RunContext

Group = Sequence[tuple[str, EarlyExitNetwork]]  # students by name that are trained at once


def train_on(
    run: RunContext, group: Group, options: OptimizerSection, stage: str
) -> Iterator[tuple[str, EarlyExitNetwork]]:
    """Train networks in place, all at once, and leave them on the CPU; those that the training did not break."""
    context, share = run.context, run.context.training_seconds(options) / options.epochs
    trainings = [context.training(on_device(network, context.device), options) for _, network in group]

    def progress(number: int, done: int, total: int) -> None:
        run.meter.add(stage, share / len(group), f"{group[number][0]} epoch {done}/{total}")

    with run.store.timed(stage):
        results = train_together(trainings, len(trainings), progress)
    for (name, network), result in zip(group, results, strict=True):
        try:
            if isinstance(result, TrainingFailed):
                raise result
            check_exits(all_logits(network, context.dataset.validation.images))
        except TrainingFailed as error:
            run.store.update_student(name, stage="failed", reason=str(error))
            run.meter.say(f"{stage} {name} failed: {error}")
            continue
        yield name, network.cpu()
