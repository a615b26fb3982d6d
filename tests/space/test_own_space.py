"""The space of students of a user's own network: what its params mean, and what is known of costs beforehand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from erde_nas.networks.arch import Exit
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import blank
from erde_nas.recipe.recipe import load_recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.space.own_space import OwnSpace, kept_of
from tests.networks.own.test_student import NAMES, base


def section(**more):
    return SpaceSection(own="model.pt2", **more)


def drawn(of, count, seed=0):
    rng = np.random.default_rng(seed)
    return [{name: c[rng.integers(len(c))] for name, c in of.parameters.items()} for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_macs_beforehand_is_what_is_counted_without_heads(name):
    of = OwnSpace(section(keep=(0.35, 0.5, 1.0), heads=("linear",)), base(name))
    for params in drawn(of, 6):
        arch = of.decode(params)
        heads = arch.classes * sum(exit_width(arch, exit_, of) for exit_ in arch.exits[:-1])
        last, _, count = of.costs(params)
        assert last == pytest.approx(exit_macs(arch)[-1] - heads, rel=1e-6)
        assert count == len(arch.exits)


def exit_width(arch, exit_, of) -> int:
    """What enters the classifier of a `linear` head: of tokens the first and their mean."""
    return arch.blocks[exit_.block].width * (2 if of.base.places[exit_.block].kind == "tokens" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_say_how_wide_the_network_is(name):
    of = OwnSpace(section(keep=(0.5, 1.0), heads=("linear",)), base(name))
    for params in drawn(of, 3):
        arch, x, block = of.decode(params), torch.zeros(1, 3, 16, 16), 0
        network = blank(arch).eval()
        for segment in network.parts:
            for layer in segment.body:
                x = layer(x)
                if hasattr(layer, "channels"):
                    at = -1 if block < len(of.base.places) and of.base.places[block].kind == "tokens" else 1
                    assert x.shape[at] == arch.blocks[block].width
                    block += 1


def test_exits_beyond_the_room_go_shallowest_first_and_mean_one_architecture():
    of = OwnSpace(section(max_exits=2, heads=("gap",)), base("residual"))
    params = dict.fromkeys(of.parameters, 0) | {name: 1.0 for name in of.parameters if name.startswith("keep")}
    every = params | {name: "gap" for name in of.parameters if name.startswith("exit")}
    last = params | {name: "none" for name in of.parameters if name.startswith("exit")}
    last |= {list(last)[-1]: "gap"}
    assert of.identify(every) == of.identify(last)
    assert [exit_.block for exit_ in of.decode(every).exits] == [2, 3]


def test_the_smallest_is_cheapest_and_keeps_eight_channels():
    of = OwnSpace(section(keep=(0.1, 1.0), heads=("gap", "conv")), base("inverted"))
    smallest = of.smallest()
    assert [arch.exits[0] for arch in smallest] == [Exit(0, "gap"), Exit(0, "conv")]
    assert min(smallest[0].own.widths) == 8
    least = min(exit_macs(arch)[0] for arch in smallest)
    assert all(exit_macs(of.decode(params))[0] >= least for params in drawn(of, 10))


def test_without_skips_and_early_exits_only_widths_vary():
    of = OwnSpace(section(skip=False, max_exits=1), base("residual"))
    assert set(of.parameters) == {"keep0"}
    assert len(of.decode(drawn(of, 1)[0]).exits) == 1
    assert len(of.middle().exits) == 1


@pytest.mark.parametrize(
    ("channels", "share", "kept"),
    [(64, 0.5, 32), (60, 0.5, 32), (60, 1.0, 60), (16, 0.1, 8), (12, 0.9, 8), (4, 0.5, 4)],
)
def test_widths_are_multiples_of_eight_unless_all_stay(channels, share, kept):
    assert kept_of(channels, share) == kept


def test_the_example_is_a_recipe_that_teaches_itself():
    recipe = load_recipe(Path(__file__).parents[2] / "examples/own-network/own.yaml")
    assert recipe.space.own == recipe.teacher.checkpoint
