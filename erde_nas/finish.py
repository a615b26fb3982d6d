"""What happens to the shortlist: trained on from its own checkpoints, pruned, and trained again."""

from collections.abc import Iterator

import numpy as np

from erde_nas import limits
from erde_nas.compress.prune import prune
from erde_nas.errors import TrainingFailed, UserError
from erde_nas.measure.health import check_exits
from erde_nas.pareto import select
from erde_nas.recipe import OptimizerSection
from erde_nas.run import Run
from erde_nas.students.infer import all_logits
from erde_nas.students.network import EarlyExitNetwork, on_device
from erde_nas.students.weights import load_network, save_network, save_weights


def shortlist(run: Run) -> list[str]:
    """The students to finish, by non-dominated rank and crowding. Raises UserError where none qualifies."""
    trials = run.store.trials()
    complete = [trial for trial in trials if trial.state == "complete"]
    if not trials:
        raise UserError(f"{run.store.folder} holds no candidate yet; continue its search")
    if not complete:
        reasons = "; ".join(sorted({trial.reason for trial in trials})[:3])
        raise UserError(
            f"all {len(trials)} candidates failed: {reasons}; lower train.learning_rate in the recipe and run it again"
        )
    feasible = [trial for trial in complete if all(excess <= 0 for excess in trial.constraints)]
    if not feasible:
        raise UserError(limits.nothing_feasible(complete, run.shared.profiles))
    chosen = select(np.array([trial.objectives for trial in feasible]), run.shared.recipe.finish.students)
    return [feasible[i].student for i in chosen]


def finish(run: Run, name: str) -> bool:
    """Train a student on from its brief checkpoint to the full budget; whether it is fit for use afterwards."""
    folder, stage = run.store.student(name), run.store.metrics(name).get("stage")
    if stage == "failed":
        run.meter.say(f"finish {name} failed before: {run.store.metrics(name)['reason']}")
    if stage != "searched":
        return stage == "finished"
    brief = folder / "brief.safetensors"
    if not brief.is_file():
        save_weights(load_network(folder / "weights.safetensors"), brief)
    network = load_network(brief)
    if not _train_on(run, network, run.shared.recipe.finish.train, "finish", name):
        return False
    save_weights(network, folder / "weights.safetensors")
    run.store.update_metrics(name, stage="finished")
    return True


def prune_student(run: Run, name: str) -> Iterator[str]:
    """Prune a finished student at every ratio of the recipe, train the results, and yield the names of the fit ones."""
    network = load_network(run.store.student(name) / "weights.safetensors")
    for ratio in run.shared.recipe.compress.prune:
        pruned_name = f"{name}-p{ratio * 100:.0f}"
        stage = run.store.metrics(pruned_name).get("stage")
        if stage == "failed":
            continue
        if stage is None:
            pruned, arch = prune(network, ratio)
            if arch == network.arch:
                run.meter.say(f"prune {name}: {ratio:.0%} removes nothing in multiples of 8 channels")
                continue
            if not _train_on(run, pruned, run.shared.recipe.compress.train, "prune", pruned_name):
                continue
            save_network(pruned, run.store.student(pruned_name))
            run.store.update_metrics(pruned_name, stage="pruned", parent=name, ratio=ratio)
        yield pruned_name


def _train_on(run: Run, network: EarlyExitNetwork, options: OptimizerSection, stage: str, name: str) -> bool:
    """Train in place on the training device, then leave the network on the CPU; False where the training broke it."""
    share = run.shared.training_seconds(options) / options.epochs
    on_device(network, run.shared.device)
    try:
        with run.store.timed(stage):
            run.shared.distil(
                network, options, lambda e, total: run.meter.add(stage, share, f"{name} epoch {e}/{total}")
            )
            check_exits(all_logits(network, run.shared.dataset.validation.images))
    except TrainingFailed as error:
        run.store.update_metrics(name, stage="failed", reason=str(error))
        run.meter.say(f"{stage} {name} failed: {error}")
        return False
    network.cpu()
    return True
