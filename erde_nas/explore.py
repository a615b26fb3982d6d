"""Ask, train, measure, store, tell: the search itself, until its budget is spent."""

import time

from erde_nas import candidate
from erde_nas.budget import spent
from erde_nas.errors import SpaceExhausted, UserError
from erde_nas.limits import Screen
from erde_nas.plan import after_search_s, candidate_s
from erde_nas.records import Arch, Proposal, Trial
from erde_nas.run import Run
from erde_nas.searchers import Searcher, make_searcher
from erde_nas.students.weights import save_network
from erde_nas.supernet.evaluator import evaluator, train_supernets

SCREENED = 200  # architectures in a row that no training could bring under the limits, before the search ends


def explore(run: Run) -> None:
    """Evaluate candidates until the recipe's budget is spent; those that are stored count."""
    store, recipe = run.store, run.shared.recipe
    train_supernets(run)
    make = evaluator(store.folder, run.shared)
    searcher, trials, screen = _searcher(run), store.trials(), Screen(run.shared.profiles, run.shared.dataset)
    for trial in trials:
        searcher.tell(trial)
    known = len(trials)
    unit = candidate_s(recipe, _epoch_s(run))
    before, begin = store.seconds(), time.perf_counter()
    with store.timed("search"):
        while not (reason := spent(recipe.search, trials, before + time.perf_counter() - begin, _kept_back(run))):
            try:
                proposal, arch = _ask(searcher, screen, run)
            except SpaceExhausted as error:
                reason = str(error)
                break
            trial, network = candidate.evaluate(proposal, arch, len(trials), run.shared, make)
            if network is not None:
                save_network(network, store.student(trial.student))
                store.update_metrics(trial.student, stage="searched", **trial.metrics)
            store.add(trial)
            searcher.tell(trial)
            trials.append(trial)
            run.meter.add("search", unit, _count(trial, recipe.search.trials))
            run.meter.say(_line(trial, recipe.search.trials))
    if not trials:
        raise UserError(f"there is no candidate to train: {reason}; raise a limit, or widen the recipe's space")
    run.meter.close("search")
    if len(trials) > known:
        run.meter.say(f"search ended: {reason}")


def _kept_back(run: Run) -> float:
    """Estimated seconds of everything after the search."""
    shared, profiles = run.shared, len(run.shared.profiles)
    after = after_search_s(shared.recipe, profiles=profiles, epoch_s=_epoch_s(run), parallel=shared.workers)
    return sum(after.values())


def _epoch_s(run: Run) -> float:
    options = run.shared.recipe.train
    return run.shared.training_seconds(options) / options.epochs


def _ask(searcher: Searcher, screen: Screen, run: Run) -> tuple[Proposal, Arch]:
    """The next candidate that could keep the limits. Raises SpaceExhausted where there is none."""
    for _ in range(SCREENED):
        try:
            proposal = searcher.ask()
        except SpaceExhausted as error:
            raise SpaceExhausted(f"{error}{screen.summary()}") from None
        arch = run.space.decode(proposal.params)
        if screen.admits(arch):
            return proposal, arch
    raise SpaceExhausted(f"the last {SCREENED} proposals could keep the limits in no case{screen.summary()}")


def _searcher(run: Run) -> Searcher:
    section = run.shared.recipe.search
    names = candidate.objective_names(section.objectives, run.shared.profiles)
    return make_searcher(
        section.searcher, run.space, objectives=len(names), seed=section.seed, population=section.population
    )


def _count(trial: Trial, total: int | None) -> str:
    return f"{trial.number + 1}" if total is None else f"{trial.number + 1}/{total}"


def _line(trial: Trial, total: int | None) -> str:
    head = f"search {_count(trial, total)}: {trial.student}"
    if trial.state == "failed":
        return f"{head} failed: {trial.reason}"
    latencies = ", ".join(f"{ms:.3f} ms {name}" for name, ms in trial.metrics["latency_ms"].items())
    return f"{head} {trial.metrics['val_accuracy']:.1%} at {trial.metrics['macs'] / 1e6:.2f} M MACs, {latencies}"
