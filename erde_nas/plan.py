"""What a run is going to do, and how long it should take, from the measured time of one training step."""

from collections.abc import Mapping

from erde_nas.budget import expected_trials
from erde_nas.halving import rungs
from erde_nas.progress import duration
from erde_nas.recipe import Recipe
from erde_nas.run import CANDIDATE_S, FILE_S


def after_search_s(recipe: Recipe, *, profiles: int, epoch_s: float, parallel: int) -> dict[str, float]:
    """Estimated seconds of every stage after the search. `parallel` students train at once; an epoch takes `epoch_s`
    alone."""
    finish, compress = recipe.finish, recipe.compress
    pruned = finish.students * len(compress.prune)
    finishing = sum(rung.students * rung.epochs for rung in rungs(finish))
    return {
        "finish": finishing * epoch_s / min(parallel, finish.students),
        "prune": pruned * epoch_s * compress.train.epochs / max(1, min(parallel, pruned)),
        "measure": (finish.students + pruned + 3) * FILE_S * profiles,
    }


def candidate_s(recipe: Recipe, epoch_s: float) -> float:
    """Estimated seconds of one candidate; a slice of a supernet is not trained."""
    return CANDIDATE_S + (epoch_s * recipe.train.epochs if recipe.search.evaluator == "train" else 0)


def search_s(recipe: Recipe, *, done: int, epoch_s: float, spent_s: float, after_s: float) -> tuple[int, float]:
    """How many candidates there will be, and the estimated seconds of those that are not `done` yet.

    The run has taken `spent_s` so far and will take `after_s` after the search.
    """
    unit = candidate_s(recipe, epoch_s)
    left = 3600 * (recipe.search.hours or 0) - spent_s - after_s
    trials = expected_trials(recipe.search, done, unit, left)
    return trials, max(0, trials - done) * unit


def plan_text(recipe: Recipe, trials: int, done: int, seconds: Mapping[str, float]) -> str:
    """The plan in one line. `trials` are expected, `done` of them stored, and the stages take `seconds`."""
    about = "" if recipe.search.hours is None and recipe.search.trials is not None else "about "
    training = f" x {recipe.train.epochs} epochs" if recipe.search.evaluator == "train" else " of a supernet"
    candidates = f"{about}{trials} candidates{training}" + (f" ({done} done)" if done else "")
    if recipe.search.patience is not None:
        candidates += f", fewer if {recipe.search.patience} in a row add nothing"
    finishing = " -> ".join(f"{rung.students} x {rung.epochs}" for rung in rungs(recipe.finish))
    pruning = ", ".join(f"{ratio:.0%}" for ratio in recipe.compress.prune)
    pruned = f"; prune {pruning} x {recipe.compress.train.epochs} epochs" if pruning else ""
    total = duration(sum(seconds.values()))
    return f"plan: {candidates}; finish {finishing} epochs{pruned}; about {total} from here"
