"""What every searcher promises. A new one joins by a class with its name."""

import dataclasses
import gc
import json
import random
import sys
from itertools import product

import numpy as np
import optuna
import pytest

from erde_nas.errors import SpaceExhausted, UserError
from erde_nas.registry import SEARCHERS
from erde_nas.searching.searchers import make_searcher, memory
from erde_nas.space.trial import Proposal, Trial


def explore(searcher, space, count, *, start=0, change=None):
    """Ask and tell `count` times; every seventh trial fails. Returns the trials."""
    trials = []
    for number in range(start, start + count):
        changes = {"state": "failed", "objectives": ()} if number % 7 == 3 else (change or (lambda _: {}))(number)
        trials.append(space.trial(number, searcher.ask(), **changes))
        searcher.tell(trials[-1])
    return trials


def exhaust(searcher, space, start=0):
    trials = []
    while True:
        try:
            proposal = searcher.ask()
        except SpaceExhausted:
            return trials
        trials.append(space.trial(start + len(trials), proposal))
        searcher.tell(trials[-1])


def stored(trial):
    """The trial as it comes back from a file."""
    data = json.loads(json.dumps(dataclasses.asdict(trial)))
    return Trial(**{**data, "objectives": tuple(data["objectives"]), "constraints": tuple(data["constraints"])})


class SearcherContract:
    name: str
    seeded = True  # another seed, other proposals

    def make(self, space, seed=0, objectives=2, population=4):
        return make_searcher(self.name, space, objectives=objectives, seed=seed, population=population)

    def resumed(self, space, trials, **settings):
        searcher = self.make(space, **settings)
        for trial in trials:
            searcher.tell(stored(trial))
        return searcher

    def test_proposals_lie_in_the_space(self, large):
        for trial in explore(self.make(large), large, 20):
            assert list(trial.params) == list(large.parameters)
            for name, choices in large.parameters.items():
                assert any(trial.params[name] is choice for choice in choices), "the very value, not an equal one"
            assert json.loads(json.dumps(trial.attrs)) == trial.attrs

    def test_no_architecture_twice(self, large):
        trials = explore(self.make(large), large, 40)
        assert len({trial.student for trial in trials}) == 40

    def test_what_it_keeps_of_its_trials_has_a_bound(self, large):
        """Some 5,000 candidates later it still knows a few hundred of them, in whatever form."""
        searcher, generator, kept = self.make(large), np.random.default_rng(0), (Trial, optuna.trial.FrozenTrial)
        before = sum(issubclass(type(known), kept) for known in gc.get_objects())
        for number in range(900):
            params = {name: choices[generator.integers(len(choices))] for name, choices in large.parameters.items()}
            searcher.tell(large.trial(number, Proposal(params)))
        searcher.ask()
        gc.collect()
        assert sum(issubclass(type(known), kept) for known in gc.get_objects()) - before <= 2 * memory.LIMIT

    def test_small_space_is_exhausted_exactly_when_all_were_proposed(self, small):
        for seed in range(3):
            searcher = self.make(small, seed=seed)
            assert len({trial.student for trial in exhaust(searcher, small)}) == 7
            with pytest.raises(SpaceExhausted, match="all 7 architectures"):
                searcher.ask()

    def test_small_space_is_exhausted_without_a_tell(self, small):
        searcher = self.make(small)
        assert len({small.identify(searcher.ask().params) for _ in range(7)}) == 7
        with pytest.raises(SpaceExhausted, match="all 7 architectures"):
            searcher.ask()

    def test_parallel_asks_never_repeat(self, large):
        searcher, running, seen = self.make(large), [], []
        for number in range(40):
            running.append(large.trial(number, searcher.ask()))
            seen.append(running[-1].student)
            if len(running) == 4:
                searcher.tell(running.pop(number % 4))  # workers finish out of order
        assert len(set(seen)) == 40

    def test_running_trials_do_not_influence_what_comes_after_the_next_tell(self, large):
        alone, busy = self.make(large), self.make(large)
        for trial in explore(alone, large, 12):
            busy.tell(trial)
        next_one = large.trial(12, alone.ask())
        running = [large.identify(busy.ask().params) for _ in range(5)]
        for searcher in (alone, busy):
            searcher.tell(next_one)
        expected, proposed = alone.ask(), busy.ask()
        assert proposed == expected or large.identify(expected.params) in running  # which is not proposed again

    def test_the_seed_decides(self, large):
        first, same, other = (explore(self.make(large, seed=seed), large, 12) for seed in (3, 3, 4))
        assert first == same
        assert (first != other) == self.seeded

    def test_a_resumed_search_goes_on_as_if_it_had_never_stopped(self, large):
        trials = explore(self.make(large), large, 30)
        for told in (1, 10, 25):
            assert explore(self.resumed(large, trials[:told]), large, 30 - told, start=told) == trials[told:]

    def test_a_resumed_search_with_parallel_workers_goes_on_likewise(self, large):
        searcher, told = self.make(large), []
        for _ in range(6):
            batch = [large.trial(len(told) + i, searcher.ask()) for i in range(3)]
            for trial in reversed(batch):
                searcher.tell(trial)
                told.append(trial)
        resumed = self.resumed(large, told)
        assert [resumed.ask() for _ in range(3)] == [searcher.ask() for _ in range(3)]

    def test_asks_told_in_another_order_leave_the_same_state_as_their_tells_alone(self, large):
        searcher, told = self.make(large), []
        for order in ((2, 0, 1), (1, 2, 0), (0, 2, 1), (2, 1, 0)):
            batch = [large.trial(len(told) + i, searcher.ask()) for i in range(3)]
            told += [batch[i] for i in order]
            for i in order:
                searcher.tell(batch[i])
        replayed = self.resumed(large, told)
        assert explore(replayed, large, 8, start=12) == explore(searcher, large, 8, start=12)

    def test_a_resumed_search_ends_a_small_space_alike(self, small):
        trials = exhaust(self.make(small), small)
        for told in range(len(trials)):
            assert exhaust(self.resumed(small, trials[:told]), small, start=told) == trials[told:]

    def test_what_others_have_tried_is_not_proposed(self, small):
        searcher = self.make(small)
        foreign = {"family": "plain", "size": 24, "head": 1.5, "single": "only"}
        searcher.tell(small.trial(0, Proposal(foreign)))
        rest = {trial.student for trial in exhaust(searcher, small)}
        assert len(rest) == 6
        assert small.identify(foreign) not in rest

    def test_failed_trials_are_accepted(self, large):
        searcher = self.make(large)
        for number in range(30):
            searcher.tell(large.trial(number, searcher.ask(), state="failed", objectives=(), reason="out of memory"))
        assert explore(searcher, large, 10, start=30)

    @pytest.mark.parametrize("objectives", [1, 3])
    def test_other_numbers_of_objectives(self, large, objectives):
        searcher = self.make(large, objectives=objectives)
        trials = explore(
            searcher, large, 30, change=lambda n: {"objectives": (float(n % 5), 1.0, -float(n))[:objectives]}
        )
        assert len({trial.student for trial in trials}) == 30

    def test_a_trial_outside_the_space_is_refused(self, large):
        searcher = self.make(large)
        params = searcher.ask().params
        with pytest.raises(UserError, match=r"trial 5 has width2 = 24, .*\[8, 16, 32, 64\].*new run folder"):
            searcher.tell(Trial(5, "x", {**params, "width2": 24}, "complete", (1.0, 2.0)))
        params["kernel"] = params.pop("depth")
        with pytest.raises(UserError, match=r"trial 5 has other parameters .*\(depth, kernel\)"):
            searcher.tell(Trial(5, "x", params, "complete", (1.0, 2.0)))

    def test_a_trial_without_its_numbers_is_refused(self, large):
        searcher = self.make(large)
        proposal = searcher.ask()
        for objectives in ((1.0,), (1.0, np.nan), (np.inf, 1.0)):
            with pytest.raises(ValueError, match="trial 2 must have 2 finite objectives, but got"):
                searcher.tell(large.trial(2, proposal, objectives=objectives))
        with pytest.raises(ValueError, match=r"constraints of trial 2 .* got \(nan,\)"):
            searcher.tell(large.trial(2, proposal, constraints=(float("nan"),)))

    def test_global_state_stays_as_it_was_and_nothing_is_printed(self, large, capfd):
        random.seed(5)
        before = random.getstate(), str(np.random.get_state()), optuna.logging.get_verbosity()
        trials = explore(self.make(large), large, 15)
        assert (random.getstate(), str(np.random.get_state()), optuna.logging.get_verbosity()) == before
        random.seed(6)
        assert explore(self.make(large), large, 15) == trials
        assert capfd.readouterr() == ("", "")


class GuidedContract(SearcherContract):
    """What searchers promise that learn from what they are told."""

    def test_feasible_beats_infeasible(self, large):
        """The best objectives of all lie where a constraint is violated: the search stays away from there."""

        def judge(params):
            return (1.0 if params["width0"] in (8, 64) else -1.0, 2.0 if params["family"] == "a" else 0.0)

        def infeasible_share(constrained):
            searcher, hits = self.make(large, population=8), []
            for number in range(80):
                proposal = searcher.ask()
                a, b = large.objectives(proposal.params)
                bonus = 0.1 if max(judge(proposal.params)) > 0 else 1.0
                constraints = judge(proposal.params) if constrained else ()
                searcher.tell(large.trial(number, proposal, objectives=(a * bonus, b * bonus), constraints=constraints))
                hits.append(bonus < 1)
            return np.mean(hits[40:])

        assert infeasible_share(constrained=False) > 0.8
        assert infeasible_share(constrained=True) < 0.5


class TestNsga2(GuidedContract):
    name = "nsga2"

    def test_attrs_say_the_generation(self, large):
        trials = explore(self.make(large, population=4), large, 14)  # trials 3 and 10 fail
        assert [trial.attrs["NSGAIISampler:generation"] for trial in trials] == [0] * 5 + [1] * 4 + [2] * 5

    def test_children_have_the_genes_of_the_elite(self, large):
        """The first four dominate all that follow, so that most genes of every child come from one of them."""
        searcher = self.make(large, population=4)
        told = [large.trial(n, searcher.ask(), objectives=(0.0, 0.0)) for n in range(4)]
        for trial in told:
            searcher.tell(trial)
        for number in range(4, 24):
            proposal = searcher.ask()
            searcher.tell(large.trial(number, proposal, objectives=(1.0, 1.0)))
            inherited = [any(t.params[k] == v for t in told) for k, v in proposal.params.items()]
            assert sum(inherited) >= len(inherited) - 4


class TestNsga3(GuidedContract):
    name = "nsga3"


class TestRegularizedEvolution(GuidedContract):
    name = "regularized-evolution"

    def test_the_oldest_have_no_more_children(self, large):
        """The first four are the best by far, but once four others were told, every child is one of theirs."""
        searcher = self.make(large, population=4)
        small, big = ({name: choices[at] for name, choices in large.parameters.items()} for at in (0, -1))
        for number in range(8):
            params, value = (small, 0.0) if number < 4 else (big, 1.0)
            searcher.tell(large.trial(number, Proposal(params), objectives=(value, value)))
        for _ in range(10):
            child = searcher.ask().params
            assert sum(child[name] != big[name] for name in big) <= 3


class TestSurrogate(GuidedContract):
    name = "surrogate"


class TestTpe(GuidedContract):
    name = "tpe"


class TestRandom(SearcherContract):
    name = "random"


class TestNniTpe(GuidedContract):
    name = "nni-tpe"


class TestNniEvolution(GuidedContract):
    name = "nni-evolution"


class TestNniGridsearch(SearcherContract):
    name = "nni-gridsearch"
    seeded = False

    @pytest.mark.parametrize("seed", [0, 1])
    def test_the_grid_is_walked_in_order(self, small, seed):
        """The last parameter that varies turns fastest; what means the same is passed over."""
        searcher = self.make(small, seed=seed)
        walked = [(t.params["family"], t.params["size"], t.params["head"]) for t in exhaust(searcher, small)]
        assert walked == [("plain", 8, 0.5), *product(["fancy"], [8, 16, 24], [0.5, 1.5])]


def test_every_searcher_has_joined():
    found = set()
    waiting = [SearcherContract]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        found |= {cls.name} if hasattr(cls, "name") else set()
    assert found == set(SEARCHERS)


def test_an_unknown_name_lists_the_choices(small):
    with pytest.raises(UserError, match=r"searcher 'cma-es': choose one of nsga2, nsga3, .*, nni-gridsearch"):
        make_searcher("cma-es", small, objectives=2, seed=0)


@pytest.mark.parametrize("wrong", [{"objectives": 0}, {"seed": -1}, {"population": 1}])
def test_numbers_that_no_searcher_can_use_are_refused(small, wrong):
    ((key, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{key} of the searcher must be . or more, but got {value}"):
        make_searcher("random", small, **{"objectives": 2, "seed": 0, **wrong})


def test_a_missing_library_is_named(small, monkeypatch):
    for module in [key for key in sys.modules if key.split(".")[0] == "nni" or ".searchers.nni" in key]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "nni", None)
    with pytest.raises(UserError, match="searcher 'nni-tpe' needs the Python package 'nni'"):
        make_searcher("nni-tpe", small, objectives=2, seed=0)
