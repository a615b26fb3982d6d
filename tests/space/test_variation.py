"""Crossover and mutation: children lie in the space, and exits stay where the network is as deep as in the parents."""

import itertools

import numpy as np
import pytest

from erde_nas.recipe.space import SpaceSection
from erde_nas.space.space import NO_EXIT, Space
from erde_nas.space.variation import blocks, relative, steps

SECTION = SpaceSection(
    families=("resnet", "mobilenet", "shufflenet"),
    stems=(8, 16),
    stem_strides=(1, 2),
    depths=((1, 2, 3), (2, 4)),
    widths=((8, 16), (16, 24, 32)),
    kernels=(3, 5),
    expansions=(1, 2),
    heads=("erde", "gap"),
    max_exits=3,
)


TAIL = {  # the last stage may keep the resolution; exits at the ends of stages from the second on
    "depths": ((1, 2), (1, 2), (1, 2, 4)),
    "widths": ((8,), (16, 24), (32, 48)),
    "strides": ((1,), (1, 2), (1, 2)),
}
RESTRICTED = {"exits": "stage-ends", "first_exit_stage": 1}
KINDS = pytest.mark.parametrize(
    "kind",
    [{}, TAIL, {**TAIL, "first_exit_stage": 1}, {"exits": "stage-ends"}, {**TAIL, **RESTRICTED}],
    ids=["plain", "tail", "tail, first exit", "stage ends", "tail, restricted"],
)


def space(**changes):
    return Space(SECTION.model_copy(update=changes), (1, 16, 16), 4)


def proposals(of, count, seed=0):
    rng = np.random.default_rng(seed)
    return [{name: c[rng.integers(len(c))] for name, c in of.parameters.items()} for _ in range(count)]


def architectures(of):
    found = {}
    for values in itertools.product(*of.parameters.values()):
        params = dict(zip(of.parameters, values, strict=True))
        found.setdefault(of.identify(params), params)
    return found


def in_space(of, params):
    return params.keys() == of.parameters.keys() and all(params[name] in c for name, c in of.parameters.items())


@KINDS
@pytest.mark.parametrize("max_exits", [1, 2, 3, 9])
def test_the_exits_that_count_are_those_of_the_architecture(max_exits, kind):
    of = space(max_exits=max_exits, **kind)
    for params in proposals(of, 50):
        numbers = {block: number for number, block in enumerate(blocks(params, of.stages))}
        ours = [(numbers[block], head) for block, head in of.variation.exits(params).items()]
        assert ours == [(exit_.block, exit_.head) for exit_ in of.decode(params).exits[:-1]]


@KINDS
def test_exits_are_where_the_space_allows_them_and_nowhere_else(kind):
    of, rng = space(max_exits=9, **kind), np.random.default_rng(3)
    stage_ends, first = of.stages and kind.get("exits") == "stage-ends", kind.get("first_exit_stage", 0)
    for first_parent, second_parent in zip(proposals(of, 60), proposals(of, 60, 1), strict=True):
        child = of.variation.mutate(of.variation.cross(first_parent, second_parent, rng), rng)
        for params in (first_parent, child):
            order = blocks(params, of.stages)
            ends = [i for i, (s, at) in enumerate(order) if at == params[f"depth{s}"] - 1]
            allowed = [i for i, (s, _) in enumerate(order[:-1]) if s >= first and (not stage_ends or i in ends)]
            assert of.exit_blocks(params) == allowed
            assert {exit_.block for exit_ in of.decode(params).exits[:-1]} <= set(allowed)
    drawn = [exit_.block for params in proposals(of, 60) for exit_ in of.decode(params).exits[:-1]]
    assert drawn


@KINDS
def test_equal_parents_have_a_child_that_means_the_same(kind):
    of, rng = space(**kind), np.random.default_rng(1)
    for params in proposals(of, 50):
        assert of.identify(of.variation.cross(params, dict(params), rng)) == of.identify(params)


@KINDS
def test_what_means_the_same_has_one_canonical_form(kind):
    of = space(**kind)
    written = {}
    for params in proposals(of, 300):
        canonical = of.variation.canonical(params)
        assert in_space(of, canonical)
        assert written.setdefault(of.identify(params), canonical) == canonical
        assert of.identify(canonical) == of.identify(params)


@KINDS
def test_a_child_has_the_whole_stages_of_its_parents_and_no_exit_without_a_like_one_in_them(kind):
    of, rng = space(**kind), np.random.default_rng(2)
    kinds = ("depth", "width", "stride", "kernel", "expansion")
    stage_names = [[n for k in kinds if (n := f"{k}{s}") in of.parameters] for s in range(of.stages)]
    for first, second in zip(proposals(of, 100, 3), proposals(of, 100, 4), strict=True):
        child = of.variation.cross(first, second, rng)
        assert in_space(of, child)
        for names in (["family"], ["stem"], ["head"], *stage_names):
            assert [child[n] for n in names] in ([first[n] for n in names], [second[n] for n in names])
        inherited = [(relative(b, p), h) for p in (first, second) for b, h in of.variation.exits(p).items()]
        placed = of.variation.exits(child)
        assert len(placed) <= 2
        for block, head in placed.items():
            near = [abs(depth - relative(block, child)) for depth, kind in inherited if kind == head]
            assert min(near) <= 1  # a stage: the last block of a shallow last stage is no place for an early exit


def test_an_exit_that_both_parents_have_is_kept():
    of, rng = space(), np.random.default_rng(5)
    first, second = ({**p, "depth0": 3, "exit0.1": "gap"} for p in proposals(of, 2))
    for params in (first, second):
        params |= {name: NO_EXIT for name in params if name.startswith("exit") and name != "exit0.1"}
    for _ in range(20):
        assert of.variation.exits(of.variation.cross(first, second, rng)) == {(0, 1): "gap"}


@pytest.mark.parametrize(
    ("old", "new", "block", "expected"),
    [
        ((2, 2), (2, 4), (1, 0), (1, 1)),  # half-way through the stage, before and after
        ((2, 4), (2, 2), (1, 1), (1, 0)),
        ((2, 4), (2, 2), (1, 2), (1, 0)),  # three quarters: the end is nearer, but the last exit sits there
        ((1, 2), (3, 2), (0, 0), (0, 2)),  # the end of a stage stays its end
        ((3, 2), (1, 2), (0, 2), (0, 0)),
        ((3, 2), (2, 2), (0, 1), (0, 0)),  # two thirds: half is nearer than the end
        ((3, 2), (1, 2), (0, 0), (0, 0)),  # nothing is shallower than the first block
        ((2, 2), (2, 2), (0, 1), (0, 1)),
    ],
)
def test_exits_are_carried_to_the_nearest_relative_depth(old, new, block, expected):
    of = space()
    before, after = ({"depth0": depths[0], "depth1": depths[1]} for depths in (old, new))
    assert of.variation.carry({block: "gap"}, before, after) == {expected: "gap"}


@KINDS
def test_a_mutation_changes_one_thing(kind):
    of, rng = space(**kind), np.random.default_rng(6)
    for params in proposals(of, 200):
        child = of.variation.mutate(params, rng)
        assert in_space(of, child)
        assert of.identify(child) != of.identify(params)
        changed = {name for name in params if not name.startswith("exit") and params[name] != child[name]}
        assert len(changed) <= 1
        here, there = of.variation.exits(params), of.variation.exits(child)
        if not changed:  # then it is one exit that moved, appeared, vanished or got another head
            lost, gained = here.items() - there.items(), there.items() - here.items()
            assert 1 <= len(lost) + len(gained) <= 2
            assert len(lost) <= 1
            assert len(gained) <= 1
            if lost and gained:
                ((old, old_head),), ((new, new_head),) = lost, gained
                order = list(of.variation.places(params))
                assert abs(order.index(old) - order.index(new)) + (old_head != new_head) == 1
        elif not min(changed).startswith("depth"):
            assert here == there


@pytest.mark.parametrize(
    "kind",
    [{"depths": ((2,), (2,))}, {"depths": ((2,), (1,), (2,)), "strides": ((1,), (2,), (1, 2)), "first_exit_stage": 1}],
    ids=["plain", "tail"],
)
def test_neighbours_are_all_different_and_their_relation_is_mutual(kind):
    """Where no depth changes, what one mutation does another undoes; and mutations reach the whole space."""
    widths = ((8,), (16, 24), (32,))[: len(kind["depths"])]
    of = space(families=("resnet",), stems=(8,), widths=widths, **kind)
    known = architectures(of)
    reached = {}
    for name, params in known.items():
        found = [of.identify(p) for way in of.variation.neighbours(params).values() for p in way]
        assert len(set(found)) == len(found)
        assert name not in found
        reached[name] = set(found)
    assert all(name in reached[other] for name, others in reached.items() for other in others)
    seen, waiting = set(), [next(iter(known))]
    while waiting:
        name = waiting.pop()
        waiting += reached[name] - seen
        seen |= {name, *reached[name]}
    assert seen == set(known)


def test_a_space_of_one_architecture_has_no_neighbours():
    one = {"stems": (8,), "stem_strides": (1,), "depths": ((1,),), "widths": ((8,),)}
    of = space(families=("resnet",), heads=("gap",), **one)
    (params,) = proposals(of, 1)
    assert of.variation.mutate(params, np.random.default_rng(0)) == params


def test_arguments_stay_as_they_were():
    of, rng = space(), np.random.default_rng(7)
    first, second = proposals(of, 2)
    copies = dict(first), dict(second)
    of.variation.cross(first, second, rng)
    of.variation.mutate(first, rng)
    assert (first, second) == copies


def test_numbers_change_by_a_step_and_names_at_will():
    assert steps((32, 8, 16), 16) == [8, 32]
    assert steps((32, 8, 16), 32) == [16]
    assert steps(("a", "b", "c"), "b") == ["a", "c"]
    assert steps((8,), 8) == []
