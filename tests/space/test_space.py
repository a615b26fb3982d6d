"""The search space: every proposal means a network that can be built, and the same network has one id."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.space import SpaceSection
from erde_nas.registry import FAMILIES, HEADS
from erde_nas.space.space import NO_EXIT, Space

SECTION = SpaceSection(
    stems=(8, 16),
    depths=((1, 2), (1, 2, 3)),
    widths=((8, 16), (16, 24)),
    kernels=(3, 5),
    expansions=(1, 2),
    max_exits=3,
)
EVERYTHING = {"families": tuple(FAMILIES), "heads": tuple(HEADS)}
SHAPE, CLASSES = (1, 8, 8), 4
torch.set_num_threads(1)


def space(**changes):
    return Space(SECTION.model_copy(update=changes), SHAPE, CLASSES)


def proposals(of, count, seed=0):
    rng = np.random.default_rng(seed)
    return [{name: c[rng.integers(len(c))] for name, c in of.parameters.items()} for _ in range(count)]


def network(arch):
    return EarlyExitNetwork(arch, [0.5], [0.5]).eval()


def test_the_stem_may_halve_the_image_or_more():
    of = space(stem_strides=(1, 2, 4))
    for params in proposals(of, 40):
        arch = of.decode(params)
        stem_output = network(arch).parts[0].body[1](torch.zeros(1, 1, 8, 8))
        assert stem_output.shape[-1] == 8 // params["stem_stride"]
        assert len(network(arch)(torch.zeros(2, 1, 8, 8))) == len(arch.exits)
    assert {arch.stem_stride for arch in of.smallest()} == {4}
    assert "stem_stride" not in space().parameters
    assert space().decode(proposals(space(), 1)[0]).stem_stride == 1


def positions(params):
    """The (stage, position) of every block, in order."""
    return [(stage, i) for stage in range(2) for i in range(params[f"depth{stage}"])]


@pytest.mark.parametrize("max_exits", [1, 2, 3, 9])
def test_proposals_mean_what_their_names_say(max_exits):
    of = space(max_exits=max_exits, **EVERYTHING)
    for params in proposals(of, 100):
        arch, blocks = of.decode(params), positions(params)
        wanted = [(b, params[f"exit{s}.{i}"]) for b, (s, i) in enumerate(blocks[:-1])]
        early = [(b, head) for b, head in wanted if head != NO_EXIT]
        kept = early[max(0, len(early) - (max_exits - 1)) :]  # the shallowest are dropped
        assert [(e.block, e.head) for e in arch.exits] == [*kept, (len(blocks) - 1, params["head"])]
        assert [block.width for block in arch.blocks] == [params[f"width{s}"] for s, _ in blocks]
        halving = [(0, 0), (1, 0)] if params["family"] == "airbench" else [(1, 0)]
        assert [block.stride for block in arch.blocks] == [2 if block in halving else 1 for block in blocks]
        stem = 8 if params["family"] == "airbench" else params["stem"]  # there are 8 filters for gray images
        assert (arch.family, arch.stem, arch.classes) == (params["family"], stem, CLASSES)
        if params["family"] == "mobilenet":  # the other families' blocks: networks/test_families.py
            inputs = [params["stem"], *(block.width for block in arch.blocks)]
            assert [b.kernel for b in arch.blocks] == [params[f"kernel{s}"] for s, _ in blocks]
            expansions = [params[f"expansion{s}"] for s, _ in blocks]
            assert [b.hidden for b in arch.blocks] == [n * e for n, e in zip(inputs, expansions, strict=False)]


def test_every_proposal_can_be_built():
    of = space(**EVERYTHING)
    for params in proposals(of, 60, seed=1):
        arch = of.decode(params)
        logits = network(arch)(torch.zeros(2, *SHAPE, dtype=torch.uint8))
        assert [tuple(out.shape) for out in logits] == [(2, CLASSES)] * len(arch.exits)
        assert of.identify(params) == arch.id


def ignored(params):
    """The names that mean nothing beside the others."""
    blocks = positions(params)
    names = {f"exit{s}.{i}" for s, deepest in ((0, 2), (1, 3)) for i in range(deepest)}
    names -= {f"exit{s}.{i}" for s, i in blocks[:-1]}
    if params["family"] not in ("mobilenet", "shufflenet"):
        names |= {"kernel0", "kernel1"}
    if params["family"] == "airbench":
        names |= {"stem"}
    if params["family"] != "mobilenet":
        names |= {"expansion0", "expansion1"}
    return names


def test_id_depends_on_the_parameters_that_apply_and_on_no_others():
    of = space(max_exits=9, **EVERYTHING)
    for params in proposals(of, 60, seed=2):
        without_meaning = ignored(params)
        for name, choices in of.parameters.items():
            other = next(choice for choice in choices if choice != params[name])
            same = of.identify({**params, name: other}) == of.identify(params)
            assert same == (name in without_meaning), (name, params)


def test_ids_name_architectures_and_nothing_else():
    of = space(**EVERYTHING)
    archs = {of.identify(p): of.decode(p) for p in proposals(of, 200, seed=3)}
    assert len(set(archs.values())) == len(archs)


@pytest.mark.parametrize(("depth0", "depth1"), [(1, 2), (2, 2), (2, 3)])
def test_an_exit_stays_in_its_stage_when_another_stage_grows(depth0, depth1):
    of = space()
    params = {**proposals(of, 1)[0], "depth0": depth0, "depth1": depth1, "head": "gap"}
    params |= {name: NO_EXIT for name in params if name.startswith("exit")}
    arch = of.decode({**params, "exit1.0": "conv"})
    assert [(exit_.block, exit_.head) for exit_ in arch.exits] == [(depth0, "conv"), (depth0 + depth1 - 1, "gap")]


def test_smallest_leave_after_the_first_block_with_the_fewest_macs():
    of = space(**EVERYTHING)
    least = {}
    for arch in of.smallest():
        assert [exit_.block for exit_ in arch.exits] == [0, 1]
        assert len({exit_.head for exit_ in arch.exits}) == 1
        least[arch.family, arch.exits[0].head] = macs_per_exit(network(arch))
    assert set(least) == set(itertools.product(FAMILIES, HEADS))
    for params in proposals(of, 24, seed=4):
        arch = of.decode(params)
        assert macs_per_exit(network(arch))[0] >= least[arch.family, arch.exits[0].head][0]


def test_middle_is_middling_and_has_two_exits():
    arch = space().middle()
    assert [exit_.block for exit_ in arch.exits] == [0, 3]  # depths 2 of (1, 2) and 2 of (1, 2, 3)
    assert (arch.stem, arch.family) == (16, "mobilenet")
    assert [block.width for block in arch.blocks] == [16, 16, 24, 24]
    assert len(network(arch)(torch.zeros(1, *SHAPE))) == 2


def test_a_space_without_early_exits_still_has_its_smallest_and_its_middle():
    of = space(max_exits=1)
    assert {len(arch.exits) for arch in [*of.smallest(), of.middle()]} == {1}


def test_strides_of_the_stem_vary_where_they_are_asked_for():
    assert "stem_stride" not in space().parameters  # so that older recipes propose what they did
    of = space(stem_strides=(1, 2))
    arch = of.smallest()[0]
    assert arch.stem_stride == 2
    (params,) = proposals(of, 1, seed=0)
    both = [of.decode({**params, "stem_stride": stride}) for stride in (1, 2)]
    assert both[1] == replace(both[0], stem_stride=2)
    assert of.identify({**params, "stem_stride": 2}) == both[1].id != both[0].id
    rng, parents = np.random.default_rng(0), proposals(of, 2, seed=3)
    children = [of.variation.cross(*parents, rng) for _ in range(20)]
    assert all(child.keys() == of.parameters.keys() for child in children)
    assert {child["stem_stride"] for child in children} == {parent["stem_stride"] for parent in parents}
    with torch.no_grad():
        sizes = [network(arch).parts[0].body[:2](torch.zeros(1, *SHAPE)).shape[-1] for arch in both]
    assert sizes == [8, 4]


def test_a_tail_may_keep_the_resolution_and_exits_may_begin_at_its_trunk():
    of = space(
        depths=((1,), (1, 2), (1, 4)),
        widths=((8,), (16,), (24, 32)),
        strides=((1,), (2,), (1, 2)),
        exits="stage-ends",
        first_exit_stage=1,
        families=("resnet",),
    )
    assert [name for name in of.parameters if name.startswith(("stride", "exit"))] == [
        "stride0", "stride1", "exit1.end", "stride2"
    ]  # fmt: skip
    params = {**proposals(of, 1)[0], "depth1": 2, "depth2": 4, "exit1.end": "gap", "head": "conv"}
    for stride in (1, 2):
        arch = of.decode({**params, "stride2": stride})
        assert [block.stride for block in arch.blocks] == [1, 2, 1, stride, 1, 1, 1]
        assert [block.width for block in arch.blocks] == [8, 16, 16] + 4 * [params["width2"]]
        assert [(exit_.block, exit_.head) for exit_ in arch.exits] == [(2, "gap"), (6, "conv")]
        assert network(arch)(torch.zeros(1, *SHAPE))[-1].shape == (1, CLASSES)
        assert of.costs({**params, "stride2": stride}) == (*macs_per_exit(network(arch))[::-1], 2)
    assert [exit_.block for exit_ in of.middle().exits] == [2, 6]
    assert {(exits[0].block, len(exits)) for exits in (arch.exits for arch in of.smallest())} == {(1, 2)}


def test_strides_that_say_what_is_usual_change_no_architecture():
    plain, said = space(), space(strides=((1,), (2,)))
    for params in proposals(plain, 20):
        assert said.decode({**params, "stride0": 1, "stride1": 2}) == plain.decode(params)


def test_parameters_belong_to_families_that_use_them():
    of_shuffle_units = space(families=("resnet", "shufflenet")).parameters
    assert [name for name in of_shuffle_units if name.startswith(("kernel", "expansion"))] == ["kernel0", "kernel1"]
    names = space(families=("resnet", "wrn", "bottleneck", "vgg")).parameters
    assert not [name for name in names if name.startswith(("kernel", "expansion"))]
    assert [name for name in names if name.startswith("exit")] == [
        f"exit{s}" for s in ("0.0", "0.1", "1.0", "1.1", "1.2")
    ]
