"""What a run is going to do, and how long it should take, from what a training step and a measurement take here."""

from erde_nas.recipe.recipe import Recipe
from erde_nas.run.pace import SLIM, SLIM_S, Pace, measuring_s
from erde_nas.searching import rank_check
from erde_nas.searching.halving import rungs
from erde_nas.searching.stop import expected_trials

GOAL_STUDENTS = 3  # trained for each of the shortlist, at most, where pruning heads for a goal
REPORT_S = 3.0
BASELINES = 3  # measured beside the students


def make_plan(recipe: Recipe, pace: Pace, *, done: int, spent_s: float) -> tuple[dict[str, float], str]:
    """Estimated seconds of every stage after the teacher, and the plan in one line.

    `done` candidates are stored, and the run has taken `spent_s` so far.
    """
    after = after_search_s(recipe, pace)
    if recipe.search.evaluator == "supernet" and not done:
        after["supernet"] = _supernet_s(recipe, pace)
    left = 3600 * (recipe.search.hours or 0) - spent_s - sum(after.values())
    trials = expected_trials(recipe.search, done, candidate_s(recipe, pace), left)
    seconds = {"search": max(0, trials - done) * candidate_s(recipe, pace), **after}
    return seconds, _text(recipe, trials, done)


def after_search_s(recipe: Recipe, pace: Pace) -> dict[str, float]:
    """Estimated seconds of every stage after the search."""
    finish, compress = recipe.finish, recipe.compress
    pruned = finish.students * (GOAL_STUDENTS if compress.goal else len(compress.prune))
    finishing = sum(rung.students * rung.epochs for rung in rungs(finish))
    seconds = {
        "finish": finishing * pace.epoch_s / min(pace.parallel, finish.students),
        "prune": pruned * pace.epoch_s * compress.train.epochs / max(1, min(pace.parallel, pruned)),
        SLIM: (finish.students + pruned) * SLIM_S,
        **measuring_s(finish.students + pruned + BASELINES, pace),
        "report": REPORT_S,
    }
    if checked := recipe.search.rank_check:
        epochs = sum(options.epochs for options, _ in rank_check.trainings(recipe).values())
        seconds[rank_check.STAGE] = checked * epochs * pace.epoch_s / min(pace.parallel, checked)
    return seconds


def _supernet_s(recipe: Recipe, pace: Pace) -> float:
    """Roughly: each step trains the largest sub-network, which takes about as long as two, the smallest, and others."""
    section = recipe.supernet
    return len(recipe.space.families) * (3 + section.random) * section.train.epochs * pace.epoch_s


def candidate_s(recipe: Recipe, pace: Pace) -> float:
    """Estimated seconds from one candidate to the next; a slice of a supernet is not trained."""
    training = pace.epoch_s * recipe.train.epochs if recipe.search.evaluator == "train" else 0
    return (pace.probe.candidate_s + training) / pace.workers


def _text(recipe: Recipe, trials: int, done: int) -> str:
    about = "" if recipe.search.hours is None and recipe.search.trials is not None else "about "
    training = f" x {recipe.train.epochs} epochs" if recipe.search.evaluator == "train" else " of a supernet"
    candidates = f"{about}{trials} candidates{training}" + (f" ({done} done)" if done else "")
    if recipe.search.patience is not None:
        candidates += f", fewer if {recipe.search.patience} in a row add nothing"
    finishing = " -> ".join(f"{rung.students} x {rung.epochs}" for rung in rungs(recipe.finish))
    pruning = ", ".join(f"{ratio:.0%}" for ratio in recipe.compress.prune)
    pruning = "towards its goal" if recipe.compress.goal else pruning
    pruned = f"; prune {pruning} x {recipe.compress.train.epochs} epochs" if pruning else ""
    if lengths := rank_check.trainings(recipe).values():
        pruned += f"; rank check {recipe.search.rank_check} x {' + '.join(str(o.epochs) for o, _ in lengths)} epochs"
    return f"plan: {candidates}; finish {finishing} epochs{pruned}"
