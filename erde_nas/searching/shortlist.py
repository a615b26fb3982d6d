"""What happens to the shortlist: trained on from its own checkpoints by successive halving.

A student's weights are kept after every rung, so that whatever is cut short goes on from the rung before.
"""

from collections.abc import Sequence

from erde_nas.errors import TrainingFailed, UserError
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.weights import load_network, recorded_digest, save_network, save_weights
from erde_nas.pareto import select_curves
from erde_nas.run.belonging import weights_problem
from erde_nas.run.context import RunContext
from erde_nas.run.manifest import Halving
from erde_nas.run.students import RungResult, StudentRecord
from erde_nas.run.train import train_on
from erde_nas.searching.evaluate import judge
from erde_nas.searching.halving import Rung, rungs
from erde_nas.searching.limits import nothing_feasible
from erde_nas.searching.objectives import objective_values
from erde_nas.searching.supernet.evaluator import candidate_maker
from erde_nas.space.trial import Trial, operating_objectives


def finish_shortlist(run: RunContext) -> list[str]:
    """Train the shortlist by successive halving; the students that were trained to the end and are fit."""
    names, ladder = [trial.student for trial in _candidates(run)], rungs(run.context.recipe.finish)
    history: tuple[Halving, ...] = ()
    for rung in ladder:
        promoted = _best(run, names, rung)
        history = (*history, Halving(rung.number, rung.epochs, tuple(promoted)))
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
    feasible = [trial for trial in complete if trial.feasible]
    if not feasible:
        raise UserError(nothing_feasible(complete, run.context.profiles))
    return feasible


def _best(run: RunContext, names: Sequence[str], rung: Rung) -> list[str]:
    """The students for a rung, by what their operating points add to the front, as they were judged before it."""
    if rung.number:
        before = [_record(run, name).rungs[rung.number - 1] for name in names]
        curves = [operating_objectives(result.objectives, result.curve) for result in before]
    else:
        searched = {trial.student: trial.points for trial in run.store.trials() if trial.state == "complete"}
        curves = [searched[name] for name in names]
    return [names[i] for i in select_curves(curves, rung.students)]


def _climb(run: RunContext, names: Sequence[str], rung: Rung, last: bool) -> list[str]:
    """Train students through one rung, as many at once as the device takes; those that are fit afterwards."""
    names = _regain(run, names)
    options = run.context.recipe.finish.train.lasting(rung.epochs)
    missing = []
    for name in names:
        record = _record(run, name)
        if record.stage == "failed":
            run.meter.say(f"finish {name} failed before: {record.reason}")
        elif record.stage == "searched" and len(record.rungs) == rung.number:
            missing.append(name)
    for start in range(0, len(missing), run.context.workers):
        group = [(name, _checkpoint(run, name, rung)) for name in missing[start : start + run.context.workers]]
        for name, network in train_on(run, group, options, "finish"):
            _keep(run, name, network, rung, last)
    fit = ("finished",) if last else ("searched", "finished")
    return [name for name in names if _record(run, name).stage in fit]


def _record(run: RunContext, name: str) -> StudentRecord:
    found = run.store.record(name)
    if found is None:
        raise UserError(f"{run.store.student(name)} holds no metrics.json; restore it, or search in a new folder")
    return found


def _checkpoint(run: RunContext, name: str, rung: Rung) -> EarlyExitNetwork:
    """The student as the rung before, or its brief training, left it."""
    folder = run.store.student(name)
    brief = folder / "brief.safetensors"
    if not brief.is_file():
        save_weights(load_network(folder / "weights.safetensors"), brief)
    return load_network(folder / f"rung{rung.number - 1}.safetensors" if rung.number else brief)


def _keep(run: RunContext, name: str, network: EarlyExitNetwork, rung: Rung, last: bool) -> None:
    """Store a student that came through a rung: weights first, then that it did."""
    folder, record, context = run.store.student(name), _record(run, name), run.context
    place = folder / f"rung{rung.number}.safetensors"
    save_weights(network, place)
    digest = recorded_digest(place)
    assert record.searched is not None
    judged = judge(network, record.searched.latency_per_exit_ms, context)
    objectives = objective_values(judged, context.recipe.search, context.profiles)
    if last:
        save_weights(network, folder / "weights.safetensors")
    rungs = (*record.rungs, RungResult(rung.epochs, judged.val_accuracy, objectives, judged.curve, digest))
    stage, weights = ("finished", digest) if last else ("searched", record.weights)
    run.store.update_student(name, stage=stage, rungs=rungs, weights=weights)


def _regain(run: RunContext, names: Sequence[str]) -> list[str]:
    """Students whose weights are not here, or not those of their record: make them again, from the same seed; the names
    of those that are here then. Those of a shared study that other searches trained are in those searches' folders."""
    trials = {trial.student: trial for trial in run.store.trials()}
    whole = len(rungs(run.context.recipe.finish))
    here, make = [], candidate_maker(run.store.folder, run.context)
    for name in names:
        folder = run.store.student(name)
        record = run.store.record(name)
        why = "its weights are not here" if record is None else weights_problem(folder, record)
        if record is not None and record.stage == "searched" and len(record.rungs) == whole:
            why = why or "it went through every rung and is not finished"  # an earlier version made it again so
        if why:
            run.meter.say(f"{name} is made again: {why}")
            if record is not None:
                run.store.set_aside(f"students/{name}")
            found = trials[name].findings
            assert found is not None
            try:
                network = make(found.arch, run.context)
            except TrainingFailed as error:
                run.meter.say(f"{name} failed here: {error}")
                continue
            save_network(network, folder)
            digest = recorded_digest(folder / "weights.safetensors")
            run.store.update_student(name, stage="searched", searched=found, weights=digest)
        here.append(name)
    return here
