"""A space in, a searcher out: strategies behind one ask/tell interface, imported when asked for."""

from erde_nas.errors import UserError
from erde_nas.registry import SEARCHERS
from erde_nas.searching.searchers.distinct import DistinctSearcher
from erde_nas.searching.searchers.interface import Searcher
from erde_nas.space.interface import SearchSpace


def make_searcher(name: str, space: SearchSpace, *, objectives: int, seed: int, population: int = 8) -> Searcher:
    """A searcher that has been told nothing yet; to resume, tell it the stored trials in their order.

    `objectives` is the number of values that every complete trial has. `population` is the size of a generation, for
    the evolutionary strategies. Raises UserError for an unknown name, a bad number or a library that is missing.
    """
    for key, value, least in (("objectives", objectives, 1), ("seed", seed, 0), ("population", population, 2)):
        if value < least:
            raise UserError(f"{key} of the searcher must be {least} or more, but got {value}")
    try:
        strategy = SEARCHERS[name](space, objectives=objectives, population=population)
    except ModuleNotFoundError as error:
        raise UserError(
            f"searcher '{name}' needs the Python package '{str(error.name).split('.')[0]}', which is not installed: "
            f"install it, or choose another of {', '.join(SEARCHERS)}"
        ) from error
    return DistinctSearcher(space, strategy, objectives=objectives, seed=seed)
