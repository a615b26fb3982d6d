"""A candidate is a slice of the shared weights: held against hand-written forward passes over them."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import exit_macs, macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.space import SpaceSection
from erde_nas.searching.supernet.subnetworks import Subnetworks
from erde_nas.searching.supernet.weights import Weights, bind_, cut, extract_, places, shared_names, union
from erde_nas.space.space import Space

MEAN, STD = [0.3], [0.4]
IMAGES = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def network_of(arch: Arch) -> EarlyExitNetwork:
    return EarlyExitNetwork(arch, MEAN, STD)


def weights_of(family: Subnetworks) -> Weights:
    """Shared weights whose every number matters: no batch norm is an identity, no bias is 0."""
    generator = torch.Generator().manual_seed(1)
    empty = union(map(network_of, family.covering()))
    return {name: torch.rand(w.shape, generator=generator) - 0.4 for name, w in empty.items()}


def some(family: Subnetworks, count: int = 8) -> list[Arch]:
    draws = np.random.default_rng(3)
    return [family.largest(draws), family.smallest(draws), *(family.random(draws) for _ in range(count))]


def norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Batch norm by its definition, over the first channels, with the untrained statistics 0 and 1."""
    channels = x.shape[1]
    scale, shift = (weights[f"{name}.{kind}"][:channels].view(-1, 1, 1) for kind in ("weight", "bias"))
    return x / (1 + 1e-5) ** 0.5 * scale + shift


def conv(x: Tensor, weights: Weights, name: str, outputs: int, kernel: int, stride: int = 1, depthwise=False) -> Tensor:
    """The first `outputs` filters on the first channels, and of each filter the middle."""
    margin = (weights[name].shape[-1] - kernel) // 2
    filters = weights[name][:outputs, : 1 if depthwise else x.shape[1]]
    filters = filters[:, :, margin : margin + kernel, margin : margin + kernel]
    return F.conv2d(x, filters, stride=stride, padding=kernel // 2, groups=outputs if depthwise else 1)


def conv_norm(x: Tensor, weights: Weights, name: str, outputs: int, kernel: int, stride: int = 1, depthwise=False):
    return norm(conv(x, weights, f"{name}.0.weight", outputs, kernel, stride, depthwise), weights, f"{name}.1")


def basic(x: Tensor, weights: Weights, name: str, block) -> Tensor:
    y = conv_norm(x, weights, f"{name}.first", block.hidden, 3, block.stride).relu()
    y = conv_norm(y, weights, f"{name}.second", block.width, 3)
    same = block.stride == 1 and x.shape[1] == block.width
    return (y + (x if same else conv_norm(x, weights, f"{name}.skip", block.width, 1, block.stride))).relu()


def inverted(x: Tensor, weights: Weights, name: str, block) -> Tensor:
    y = conv_norm(x, weights, f"{name}.expand", block.hidden, 1).relu()
    y = conv_norm(y, weights, f"{name}.depthwise", block.hidden, block.kernel, block.stride, depthwise=True).relu()
    y = conv_norm(y, weights, f"{name}.project", block.width, 1)
    return y + x if block.stride == 1 and x.shape[1] == block.width else y


def answer(x: Tensor, weights: Weights, name: str, kind: str) -> Tensor:
    y = norm(x, weights, f"{name}.features.0").relu()
    if kind == "conv":
        y = conv(y, weights, f"{name}.features.2.weight", x.shape[1], 3, 2)
        y = norm(y, weights, f"{name}.features.3").relu()
    y = F.avg_pool2d(y, 2) if kind == "erde" else y.mean((2, 3), keepdim=True)
    flat = y.flatten(1)
    return flat @ weights[f"{name}.classifier.weight"][:, : flat.shape[1]].T + weights[f"{name}.classifier.bias"]


def loop(arch: Arch, weights: Weights) -> list[Tensor]:
    """The network that `arch` means, written down once more, straight on the shared weights."""
    x = (IMAGES.float() / 255 - MEAN[0]) / STD[0]
    x = conv_norm(x, weights, "stem", arch.stem, 3).relu()
    logits, exits, stage, position = [], {e.block: e.head for e in arch.exits}, 0, 0
    for number, block in enumerate(arch.blocks):
        if number and (block.stride == 2 or block.width != arch.blocks[number - 1].width):
            stage, position = stage + 1, 0
        run = {"resnet": basic, "mobilenet": inverted}[arch.family]
        x = run(x, weights, f"block{stage}.{position}", block)
        if number in exits:
            logits.append(answer(x, weights, f"head{stage}.{position}.{exits[number]}", exits[number]))
        position += 1
    return logits


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_a_slice_answers_as_the_shared_weights_do(space: Space, name: str) -> None:
    family = Subnetworks(space, name)
    weights = weights_of(family)
    for arch in some(family):
        copied = extract_(network_of(arch), weights).eval()
        bound = bind_(network_of(arch), weights).eval()
        with torch.no_grad():
            for wanted, one, other in zip(loop(arch, weights), copied(IMAGES), bound(IMAGES), strict=True):
                torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-4)
                assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_a_slice_with_a_tail_answers_as_the_shared_weights_do(name: str) -> None:
    """The last stage keeps the resolution, and exits are at the ends of stages from the second on."""
    section = SpaceSection(
        families=(name,),
        stems=(8,),
        depths=((1, 2), (1, 2), (1, 3)),
        widths=((8,), (16, 24), (32, 40)),
        strides=((1,), (2,), (1,)),
        exits="stage-ends",
        first_exit_stage=1,
        heads=("erde", "gap"),
    )
    family = Subnetworks(Space(section, (1, 8, 8), 3), name)
    weights, seen = weights_of(family), set()
    for arch in some(family):
        ends = [number for number, (stage, _) in enumerate(places(arch)) if stage == 1][-1:]
        blocks = [exit_.block for exit_ in arch.exits]
        if len(arch.blocks) == 7:  # the largest: wherever a stage of some student ends
            assert blocks in ([2, 3, 4, 6], [*ends, 6], [6])
        else:
            assert blocks[:-1] in ([], ends)
        seen |= {places(arch)[-1], len(arch.exits)}
        with torch.no_grad():
            copied = extract_(network_of(arch), weights).eval()
            for wanted, one in zip(loop(arch, weights), copied(IMAGES), strict=True):
                torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-4)
    assert seen == {(2, 0), (2, 2), 1, 2, 4}
    assert {name.split(".")[0] for name in weights if "head" in name} == {"head1", "head2"}, "no others are trained"


@pytest.mark.parametrize("name", ["resnet", "wrn", "bottleneck", "vgg", "mobilenet", "airbench"])
def test_every_family_can_be_sliced(name: str) -> None:
    section = SpaceSection(
        families=(name,), depths=((1, 2), (1, 2)), widths=((8, 32), (16, 40)), kernels=(3, 7), heads=("gap", "wide")
    )
    family = Subnetworks(Space(section, (1, 8, 8), 3), name)
    weights = {key: value.requires_grad_() for key, value in weights_of(family).items()}
    for arch in some(family, 4):
        with torch.no_grad():
            copied = extract_(network_of(arch), weights).eval()(IMAGES)
        bound = bind_(network_of(arch), weights).eval()(IMAGES)
        assert all(map(torch.equal, copied, bound))
        torch.stack(bound).sum().backward()
    covered = union(map(network_of, family.covering()))
    assert all(
        weights[key].grad is not None or "skip" in key or "projection" in key for key in covered if "head" not in key
    )


def test_gradients_reach_the_slice_and_nothing_else(space: Space) -> None:
    family = Subnetworks(space, "mobilenet")
    weights = {key: value.requires_grad_() for key, value in weights_of(family).items()}
    arch = family.smallest(np.random.default_rng(0))
    bound = bind_(network_of(arch), weights).train()
    torch.stack(bound(IMAGES)).square().sum().backward()
    used = shared_names(network_of(arch))
    sizes = {context: network_of(arch).get_parameter(own).shape for own, context in used.items()}
    for key, weight in weights.items():
        if key not in sizes:
            assert weight.grad is None
            continue
        outside = torch.ones(weight.shape, dtype=torch.bool)
        cut(outside, sizes[key])[:] = False
        assert not weight.grad[outside].any()
    assert weights["block0.0.depthwise.0.weight"].grad[:8, :, 1:4, 1:4].any((0, 1)).all(), (
        "the middle of the 5×5 kernel"
    )
    assert not list(bound.parameters())


def test_the_cut_is_leading_channels_and_the_middle_of_a_kernel() -> None:
    tensor = torch.arange(2 * 3 * 5 * 5).view(2, 3, 5, 5)
    assert torch.equal(cut(tensor, (1, 2, 3, 3)), tensor[:1, :2, 1:4, 1:4])
    assert torch.equal(cut(tensor[0, 0], (2, 4)), tensor[0, 0, :2, :4])


def test_untrained_weights_are_those_of_an_ordinary_network(space: Space) -> None:
    networks = [network_of(arch) for arch in Subnetworks(space, "resnet").covering()]
    weights = union(networks)
    for own, name in shared_names(networks[-1]).items():
        assert torch.equal(weights[name], networks[-1].get_parameter(own))


def test_blocks_are_known_by_stage_and_position(space: Space) -> None:
    params = {key: choices[-1] for key, choices in space.parameters.items()}
    assert places(space.decode({**params, "depth0": 1, "depth1": 2})) == [(0, 0), (1, 0), (1, 1)]
    assert places(space.decode({**params, "depth0": 2, "depth1": 1})) == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_sub_networks_are_of_the_space_and_their_macs_as_counted(space: Space, name: str) -> None:
    family = Subnetworks(space, name)
    largest, smallest, *between = some(family)
    assert [exit_.block for exit_ in largest.exits] == [0, 1, 2, 3]
    assert (largest.stem, [block.width for block in largest.blocks]) == (16, [16, 16, 24, 24])
    assert (smallest.stem, [block.width for block in smallest.blocks]) == (8, [8, 16])
    for arch in between:
        assert 1 <= len(arch.exits) <= 3
        assert arch.exits[-1].block == len(arch.blocks) - 1
    assert len({arch.id for arch in between}) == len(between)
    assert {len(arch.exits) for arch in between} == {1, 2, 3}
    for arch in (largest, smallest, *between):
        assert exit_macs(arch) == macs_per_exit(network_of(arch))
