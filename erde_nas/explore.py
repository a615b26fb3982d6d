"""Ask, evaluate, store, tell: the search itself, until its budget is spent. As many candidates at once as the pool has
workers; the searcher learns from each one as it is done."""

import time

from erde_nas import candidate
from erde_nas.errors import SpaceExhausted
from erde_nas.records import Arch, Trial
from erde_nas.run import CANDIDATE_S, Run
from erde_nas.searchers import Searcher, make_searcher
from erde_nas.students.weights import save_packed
from erde_nas.workers.interface import Evaluated, Pool

POLL_S = 1.0  # between two looks at what other searches have done


def explore(run: Run, pool: Pool) -> None:
    """Evaluate candidates until the recipe's number of trials is stored; those that are stored count."""
    study, total = run.store.study, run.shared.recipe.search.trials
    searcher = _searcher(run)
    for trial in study.news():
        searcher.tell(trial)
    with run.store.timed("search"), study.at_work():
        try:
            while _submit(run, searcher, pool, total) or pool.busy or study.elsewhere():
                if pool.busy:
                    _keep(run, pool.next(POLL_S))
                else:
                    run.meter.add("search", 0, f"waits for {study.elsewhere()} candidates of other searches")
                    time.sleep(POLL_S)
                for trial in study.news():
                    searcher.tell(trial)
                    _report(run, trial, total, pool.size)
        except KeyboardInterrupt:
            while done := pool.next(0):  # what is done is kept
                _keep(run, done)
            raise
    run.meter.close("search")


def _submit(run: Run, searcher: Searcher, pool: Pool, total: int) -> int:
    """Give every free worker a candidate that is this search's to evaluate; how many there were."""
    study, before = run.store.study, pool.busy
    for proposal in study.lost()[: pool.size - pool.busy]:
        student = run.space.identify(proposal.params)
        if study.claim(proposal, student, total):
            pool.submit(proposal, student)
    while pool.busy < pool.size and study.open_places(total) > 0:
        try:
            proposal = searcher.ask()
        except SpaceExhausted:
            if not pool.busy and not study.elsewhere():
                run.meter.say(f"the space holds {len(study.trials())} architectures and no more: all are evaluated")
            break
        student = run.space.identify(proposal.params)
        if study.claim(proposal, student, total):
            pool.submit(proposal, student)
    return pool.busy - before


def _keep(run: Run, evaluated: Evaluated | None) -> None:
    """Store a finished candidate, its weights first: a trial that is stored has them."""
    if evaluated is None:
        return
    trial = evaluated.trial
    if evaluated.weights is not None:
        save_packed(Arch.from_dict(trial.metrics["arch"]), evaluated.weights, run.store.student(trial.student))
        run.store.update_metrics(trial.student, stage="searched", **trial.metrics)
    run.store.add(trial)


def _searcher(run: Run) -> Searcher:
    section = run.shared.recipe.search
    names = candidate.objective_names(section.objectives, run.shared.profiles)
    return make_searcher(
        section.searcher, run.space, objectives=len(names), seed=section.seed, population=section.population
    )


def _report(run: Run, trial: Trial, total: int, workers: int) -> None:
    unit = (run.shared.training_seconds(run.shared.recipe.train) + CANDIDATE_S) / workers
    run.meter.add("search", unit, f"{trial.number + 1}/{total}")
    run.meter.say(_line(trial, total))


def _line(trial: Trial, total: int) -> str:
    head = f"search {trial.number + 1}/{total}: {trial.student}"
    if trial.state == "failed":
        return f"{head} failed: {trial.reason}"
    latencies = ", ".join(f"{ms:.3f} ms {name}" for name, ms in trial.metrics["latency_ms"].items())
    return f"{head} {trial.metrics['val_accuracy']:.1%} at {trial.metrics['macs'] / 1e6:.2f} M MACs, {latencies}"
