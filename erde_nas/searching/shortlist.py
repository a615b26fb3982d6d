"""What happens to the shortlist: trained on from its own checkpoints by successive halving.

A student's weights are kept after every rung, so that whatever is cut short goes on from the rung before.
"""

from collections.abc import Sequence

import numpy as np

from erde_nas.errors import TrainingFailed, UserError
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.weights import load_network, save_network, save_weights
from erde_nas.pareto import select
from erde_nas.run.context import RunContext
from erde_nas.run.train import train_on
from erde_nas.searching.evaluate import judge
from erde_nas.searching.halving import Rung, rungs
from erde_nas.searching.limits import nothing_feasible
from erde_nas.searching.supernet.evaluator import candidate_maker
from erde_nas.space.trial import Trial


def finish_shortlist(run: RunContext) -> list[str]:
    """Train the shortlist by successive halving; the students that were trained to the end and are fit."""
    names, ladder, history = [trial.student for trial in _candidates(run)], rungs(run.context.recipe.finish), []
    for rung in ladder:
        promoted = _best(run, names, rung)
        history.append({"rung": rung.number, "epochs": rung.epochs, "students": promoted})
        run.store.update_manifest(halving=history)
        names = _climb(run, promoted, rung, last=rung is ladder[-1])
    return names


def finish(run: RunContext, names: Sequence[str]) -> list[str]:
    """Train these students to the end, whatever others do; those that are fit for use afterwards."""
    left, ladder = list(names), rungs(run.context.recipe.finish)
    for rung in ladder:
        left = _climb(run, left, rung, last=rung is ladder[-1])
    return left


def _candidates(run: RunContext) -> list[Trial]:
    """The candidates that keep all limits. Raises UserError where none does."""
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
        raise UserError(nothing_feasible(complete, run.context.profiles))
    return feasible


def _best(run: RunContext, names: Sequence[str], rung: Rung) -> list[str]:
    """The students for a rung, by non-dominated rank and crowding, as they were judged before it."""
    searched = {trial.student: trial.objectives for trial in run.store.trials() if trial.state == "complete"}
    if rung.number:
        objectives = [_rungs(run, name)[rung.number - 1]["objectives"] for name in names]
    else:
        objectives = [searched[name] for name in names]
    return [names[i] for i in select(np.array(objectives), rung.students)]


def _climb(run: RunContext, names: Sequence[str], rung: Rung, last: bool) -> list[str]:
    """Train students through one rung, as many at once as the device takes; those that are fit afterwards."""
    names = _regain(run, names)
    missing = [name for name in names if _stage(run, name) == "searched" and len(_rungs(run, name)) == rung.number]
    options = run.context.recipe.finish.train.lasting(rung.epochs)
    for name in names:
        if _stage(run, name) == "failed":
            run.meter.say(f"finish {name} failed before: {run.store.metrics(name)['reason']}")
    for start in range(0, len(missing), run.context.workers):
        group = [(name, _checkpoint(run, name, rung)) for name in missing[start : start + run.context.workers]]
        for name, network in train_on(run, group, options, "finish"):
            _keep(run, name, network, rung, last)
    return [name for name in names if _stage(run, name) != "failed"]


def _stage(run: RunContext, name: str) -> str | None:
    return run.store.metrics(name).get("stage")


def _rungs(run: RunContext, name: str) -> list[dict[str, object]]:
    return run.store.metrics(name).get("rungs", [])


def _checkpoint(run: RunContext, name: str, rung: Rung) -> EarlyExitNetwork:
    """The student as the rung before, or its brief training, left it."""
    folder = run.store.student(name)
    brief = folder / "brief.safetensors"
    if not brief.is_file():
        save_weights(load_network(folder / "weights.safetensors"), brief)
    return load_network(folder / f"rung{rung.number - 1}.safetensors" if rung.number else brief)


def _keep(run: RunContext, name: str, network: EarlyExitNetwork, rung: Rung, last: bool) -> None:
    """Store a student that came through a rung: weights first, then that it did."""
    folder, metrics = run.store.student(name), run.store.metrics(name)
    save_weights(network, folder / f"rung{rung.number}.safetensors")
    judged, objectives, _ = judge(network, metrics["latency_per_exit_ms"], run.context)
    entry = {"epochs": rung.epochs, "val_accuracy": judged["val_accuracy"], "objectives": list(objectives)}
    if last:
        save_weights(network, folder / "weights.safetensors")
    stage = "finished" if last else "searched"
    run.store.update_metrics(name, stage=stage, rungs=[*_rungs(run, name), entry])


def _regain(run: RunContext, names: Sequence[str]) -> list[str]:
    """Students of a shared study that other searches trained, whose weights stay in those searches' folders: make them
    again, from the same seed; the names of those that are here then."""
    trials = {trial.student: trial for trial in run.store.trials()}
    here, make = [], candidate_maker(run.store.folder, run.context)
    for name in names:
        folder = run.store.student(name)
        if not (folder / "weights.safetensors").is_file():
            run.meter.say(f"{name} was trained by another search; making it here again")
            metrics = trials[name].metrics
            try:
                network = make(Arch.from_dict(metrics["arch"]), run.context)
            except TrainingFailed as error:
                run.meter.say(f"{name} failed here: {error}")
                continue
            save_network(network, folder)
            run.store.update_metrics(name, stage="searched", **metrics)
        here.append(name)
    return here
