"""The searcher around a strategy, here one that has a single idea."""

import pytest

from erde_nas.errors import SpaceExhausted
from erde_nas.searching.searchers import distinct
from erde_nas.searching.searchers.distinct import DistinctSearcher
from erde_nas.space.trial import Proposal


class Stubborn:
    """Suggests the first choices, and nothing else, and counts how often it was asked."""

    def __init__(self, space):
        self.params = {name: choices[0] for name, choices in space.parameters.items()}
        self.seeds = []

    def suggest(self, seed, seen):
        self.seeds.append(seed)
        return Proposal(dict(self.params), {"idea": 1})

    def tell(self, trial):
        pass


def searcher(space, seed=0):
    return DistinctSearcher(space, Stubborn(space), objectives=2, seed=seed)


def test_duplicates_are_asked_again_with_new_seeds_and_then_drawn_from_what_is_unseen(small):
    search = searcher(small)
    assert search.ask().params == search._strategy.params
    assert search.ask().attrs == {"idea": 1}
    assert len(set(search._strategy.seeds)) == 1 + distinct.SUGGESTIONS


def test_the_unseen_is_drawn_evenly(small):
    """Of the 6 architectures that are left, every one comes first now and then."""
    seconds = []
    for seed in range(60):
        search = searcher(small, seed)
        search.ask()
        seconds.append(small.identify(search.ask().params))
    assert len(set(seconds)) == 6


@pytest.mark.parametrize("draws", [0, 1, distinct.DRAWS])
def test_enumeration_finds_what_drawing_misses(small, monkeypatch, draws):
    monkeypatch.setattr(distinct, "DRAWS", draws)
    search = searcher(small)
    assert len({small.identify(search.ask().params) for _ in range(7)}) == 7
    with pytest.raises(SpaceExhausted, match="all 7 architectures"):
        search.ask()


def test_a_space_too_large_to_enumerate_ends_when_draws_meet_nothing_new(large, monkeypatch):
    monkeypatch.setattr(distinct, "LAST_DRAWS", 200)
    large.ignored = {"one": tuple(name for name in large.parameters if name not in ("one", "family"))}
    search = searcher(large)
    assert {search.ask().params["family"] for _ in range(3)} == {"a", "b", "c"}
    with pytest.raises(SpaceExhausted, match="200 random draws met only the 3 architectures"):
        search.ask()
