"""A space in, a searcher out: strategies behind one ask/tell interface, imported when asked for."""

from importlib import import_module

from erde_nas.errors import UserError
from erde_nas.searching.searchers.distinct import DistinctSearcher
from erde_nas.searching.searchers.interface import Searcher
from erde_nas.space.interface import SearchSpace

STRATEGIES = {
    "nsga2": "erde_nas.searching.searchers.nsga2",
    "nsga3": "erde_nas.searching.searchers.nsga3",
    "regularized-evolution": "erde_nas.searching.searchers.regularized_evolution",
    "surrogate": "erde_nas.searching.searchers.surrogate",
    "tpe": "erde_nas.searching.searchers.tpe",
    "random": "erde_nas.searching.searchers.uniform",
    "nni-tpe": "erde_nas.searching.searchers.nni_tpe",
    "nni-evolution": "erde_nas.searching.searchers.nni_evolution",
    "nni-gridsearch": "erde_nas.searching.searchers.nni_gridsearch",
}


def make_searcher(name: str, space: SearchSpace, *, objectives: int, seed: int, population: int = 8) -> Searcher:
    """A searcher that has been told nothing yet; to resume, tell it the stored trials in their order.

    `objectives` is the number of values that every complete trial has. `population` is the size of a generation, for
    the evolutionary strategies. Raises UserError for an unknown name, a bad number or a library that is missing.
    """
    if name not in STRATEGIES:
        raise UserError(f"unknown searcher '{name}': choose one of {', '.join(STRATEGIES)}")
    for key, value, least in (("objectives", objectives, 1), ("seed", seed, 0), ("population", population, 2)):
        if value < least:
            raise UserError(f"{key} of the searcher must be {least} or more, but got {value}")
    try:
        module = import_module(STRATEGIES[name])
    except ModuleNotFoundError as error:
        raise UserError(
            f"searcher '{name}' needs the Python package '{str(error.name).split('.')[0]}', which is not installed: "
            f"install it, or choose another of {', '.join(STRATEGIES)}"
        ) from error
    strategy = module.Strategy(space, objectives=objectives, population=population)
    return DistinctSearcher(space, strategy, objectives=objectives, seed=seed)
