"""Ask, train, measure, store, tell: the search itself, until its budget is spent."""

from erde_nas import candidate
from erde_nas.errors import SpaceExhausted
from erde_nas.records import Trial
from erde_nas.run import Run
from erde_nas.searchers import Searcher, make_searcher
from erde_nas.students.weights import save_network
from erde_nas.supernet.evaluator import candidate_seconds, evaluator, train_supernets


def explore(run: Run) -> None:
    """Evaluate candidates until the recipe's number of trials is stored; those that are stored count."""
    store, total = run.store, run.shared.recipe.search.trials
    train_supernets(run)
    make = evaluator(store.folder, run.shared)
    searcher, done = _searcher(run), store.trials()
    for trial in done:
        searcher.tell(trial)
    unit = candidate_seconds(run.shared.recipe, run.shared.training_seconds(run.shared.recipe.train))
    with store.timed("search"):
        for number in range(len(done), total):
            try:
                proposal = searcher.ask()
            except SpaceExhausted:
                run.meter.say(f"the space holds {number} architectures and no more: all are evaluated")
                break
            trial, network = candidate.evaluate(proposal, run.space.decode(proposal.params), number, run.shared, make)
            if network is not None:
                save_network(network, store.student(trial.student))
                store.update_metrics(trial.student, stage="searched", **trial.metrics)
            store.add(trial)
            searcher.tell(trial)
            run.meter.add("search", unit, f"{number + 1}/{total}")
            run.meter.say(_line(trial, total))
    run.meter.close("search")


def _searcher(run: Run) -> Searcher:
    section = run.shared.recipe.search
    names = candidate.objective_names(section.objectives, run.shared.profiles)
    return make_searcher(
        section.searcher, run.space, objectives=len(names), seed=section.seed, population=section.population
    )


def _line(trial: Trial, total: int) -> str:
    head = f"search {trial.number + 1}/{total}: {trial.student}"
    if trial.state == "failed":
        return f"{head} failed: {trial.reason}"
    latencies = ", ".join(f"{ms:.3f} ms {name}" for name, ms in trial.metrics["latency_ms"].items())
    return f"{head} {trial.metrics['val_accuracy']:.1%} at {trial.metrics['macs'] / 1e6:.2f} M MACs, {latencies}"
