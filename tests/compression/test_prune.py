"""Structured pruning: what is left is what Torch-Pruning left, in whole multiples of 8 channels."""

import copy

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn

from erde_nas.compression.prune import GRID, Pruning, prune, shapes
from erde_nas.compression.widths import kept_channels, rounded
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.arch import Arch, Block, Exit
from erde_nas.networks.macs import macs_per_exit, parameter_count
from erde_nas.networks.models import MODELS, model_arch
from erde_nas.networks.network import EarlyExitNetwork, describe
from erde_nas.onnx_files.segments import export_segments
from tests.networks.builders import FAMILIES, build, digits, small_arch

HEADS = ("erde", "conv", "gap")
SHUFFLED = "shufflenet"  # its blocks keep their widths
INNER = {  # what makes the inner channels of a block, and what reads them
    "resnet": (("first.0", "first.1"), "second.0"),
    "wrn": (("first", "second_norm"), "second"),
    "bottleneck": (("reduce.0", "reduce.1", "middle.0", "middle.1"), "restore.0"),
    "mobilenet": (("expand.0", "expand.1", "depthwise.0", "depthwise.1"), "project.0"),
    "shufflenet": (("expand.0", "expand.1", "depthwise.0", "depthwise.1"), "project.0"),
}
IMAGES = torch.from_numpy(digits()[0][:40])


def widths(arch):
    return [
        arch.stem,
        *(n for block in arch.blocks for n in (block.width, block.hidden)),
        *filter(None, arch.head_widths),
    ]


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("family", FAMILIES)
def test_channels_are_fewer_and_multiples_of_8(family, ratio):
    network = build(small_arch(family, HEADS, width=64 if family == SHUFFLED else 32))
    pruned, arch = prune(network, ratio)
    assert all(width % 8 == 0 for width in widths(arch))
    assert all(new <= old for new, old in zip(widths(arch), widths(network.arch), strict=True))
    assert all(new < old for new, old in zip(macs_per_exit(pruned), macs_per_exit(network), strict=True))
    assert parameter_count(pruned) < parameter_count(network)
    assert (arch.exits, arch.classes, arch.image_size) == (network.arch.exits, 10, 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_copy_is_what_its_architecture_builds(family):
    pruned, arch = prune(build(small_arch(family, HEADS, width=24)), 0.5)
    assert pruned.arch == arch == describe(pruned)
    assert EarlyExitNetwork(arch, [0.0], [1.0]).load_state_dict(pruned.state_dict())


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != SHUFFLED])
def test_copy_answers_like_the_module_that_torch_pruning_changed(family):
    network = build(small_arch(family, HEADS, width=24))
    reference = copy.deepcopy(network)
    torch_pruning.pruner.BasePruner(
        reference,
        torch.zeros(1, 1, 8, 8),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        round_to=8,
        ignored_layers=[segment.head.classifier for segment in reference.segments],
    ).step()
    pruned, _ = prune(network, 0.5)
    with torch.no_grad():
        for ours, theirs in zip(pruned.eval()(IMAGES), reference.eval()(IMAGES), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("family", INNER)
def test_channels_that_give_nothing_go_first(family):
    """A network in which half of the inner channels are dead, here and there, answers the same without them."""
    blocks = (Block(8, 16), Block(8, 16))
    network = build(Arch(family, 1, 8, 10, 8, blocks, (Exit(0, "gap"), Exit(1, "erde")), (0, 0)))
    dead = torch.randperm(16, generator=torch.Generator().manual_seed(0))[:8]
    makers, reader = INNER[family]
    for segment in network.parts:
        block = segment.body[-1]
        with torch.no_grad():
            for maker in makers:
                for tensor in block.get_submodule(maker).parameters():
                    tensor[dead] = 0
            block.get_submodule(reader).weight[:, dead] = 0
    pruned, arch = prune(network, 0.5)
    assert arch.blocks == (Block(8, 8), Block(8, 8))
    for ours, before in zip(pruned.eval()(IMAGES), network(IMAGES), strict=True):
        torch.testing.assert_close(ours, before)


@pytest.mark.parametrize("stem", [16, 32])  # the first unit splits what comes from a stem as wide as itself
def test_shuffle_units_keep_their_halves_and_lose_what_is_inside(stem):
    units = [Block(32, 32), Block(32, 32), Block(64, 64, 3, 2, "projection"), Block(64, 64)]
    units[0] = units[0] if stem == 32 else Block(32, 32, skip="projection")
    exits = (Exit(1, "gap"), Exit(3, "wide"))
    network = build(Arch(SHUFFLED, 1, 8, 10, stem, tuple(units), exits, (0, 64)))
    pruned, arch = prune(network, 0.5)
    assert [block.width for block in arch.blocks] == [32, 32, 64, 64]
    assert [block.hidden for block in arch.blocks] == [16, 16, 32, 32]
    assert (arch.stem, arch.head_widths) == (32 if stem == 32 else 8, (0, 32))
    for ours, before in zip(pruned.parts[0].body[2:], network.parts[0].body[2:], strict=True):
        halves = zip(ours.halves(), before.halves(), strict=True)
        assert all(new.out_channels == old.out_channels for new, old in halves)
    assert [tuple(out.shape) for out in pruned.eval()(IMAGES)] == [(40, 10)] * 2


def test_a_published_shuffle_network_loses_most_of_what_is_between_its_halves():
    model = MODELS["shufflenetv2"]
    arch = model_arch(model, image_shape=(3, 32, 32), classes=10, early=[3], head="gap")
    network = EarlyExitNetwork(arch, [0.5] * 3, [0.25] * 3)
    pruned, after = prune(network, 0.5)
    assert {(b.hidden, a.hidden) for b, a in zip(arch.blocks, after.blocks, strict=True)} <= {
        (58, 24), (58, 32), (116, 56), (116, 64), (232, 112), (232, 120),
    }  # fmt: skip
    # Of a unit at full resolution both its 1×1 convolutions are halved, of one that halves the resolution fewer.
    assert macs_per_exit(pruned)[-1] < 0.65 * macs_per_exit(network)[-1]


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != SHUFFLED])
def test_class_layers_keep_their_classes_and_lose_inputs_alone(family):
    network = build(small_arch(family, HEADS, width=32, classes=32))
    pruned, _ = prune(network, 0.5)
    for new, old in zip(pruned.parts, network.parts, strict=True):
        assert torch.equal(new.head.classifier.bias, old.head.classifier.bias)
        assert new.head.classifier.in_features < old.head.classifier.in_features
        kept = old.head.classifier.weight.T.tolist()
        assert all(column in kept for column in new.head.classifier.weight.T.tolist())


@pytest.mark.parametrize("training", [True, False])
def test_original_is_left_alone(training):
    network = build(small_arch("resnet", HEADS, width=16)).train(training)
    arch, before = network.arch, copy.deepcopy(network.state_dict())
    pruned, _ = prune(network, 0.5)
    assert network.training is training
    assert network.arch == arch
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(p.grad is not None for p in (*network.parameters(), *pruned.parameters()))
    assert all(p.requires_grad for p in pruned.parameters())


def test_pixels_are_normalised_as_before():
    network = build(small_arch("mobilenet", HEADS, width=16, channels=3))
    pruned, _ = prune(network, 0.5)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), dtype=np.uint8))
    assert torch.equal(pruned.parts[0].body[0](image), network.parts[0].body[0](image))


def test_nothing_goes_where_a_multiple_of_8_is_all_there_is():
    network = build(small_arch("resnet", ("gap",), width=8))
    pruned, arch = prune(network, 0.5)
    assert arch == network.arch
    assert all(torch.equal(a, b) for a, b in zip(pruned.eval()(IMAGES), network(IMAGES), strict=True))


def channels(arch):
    return sum(widths(arch))


@pytest.mark.parametrize("multiple", [4, 8, 16])
def test_channels_are_multiples_of_what_the_profile_wants(multiple):
    network = build(small_arch("resnet", HEADS, width=32))
    _, arch = prune(network, 0.4, Pruning(multiple=multiple))
    pairs = list(zip(widths(arch), widths(network.arch), strict=True))
    assert all(new % multiple == 0 for new, old in pairs if new != old)
    assert channels(arch) < channels(network.arch)


@pytest.mark.parametrize("scope", ["stage", "global"])
def test_layers_whose_channels_matter_less_lose_more(scope):
    """Most inner channels of the first block are next to nothing: ranked among other layers', they go first."""
    network = build(small_arch("resnet", HEADS, width=32))
    with torch.no_grad():
        network.parts[0].body[2].first[0].weight[:24] *= 0.01
    alone = prune(network, 0.4)[1].blocks[0]
    together = prune(network, 0.4, Pruning(importance="magnitude", scope=scope))[1].blocks[0]
    assert together.hidden < alone.hidden


def test_taylor_keeps_the_channels_that_the_loss_needs():
    """Large weights without a gradient go before small ones that have one."""
    blocks = (Block(8, 16), Block(8, 16))
    network = build(Arch("resnet", 1, 8, 10, 8, blocks, (Exit(0, "gap"), Exit(1, "erde")), (0, 0)))
    needed = torch.randperm(16, generator=torch.Generator().manual_seed(1))[:8]
    block = network.parts[0].body[-1]
    with torch.no_grad():
        block.first[0].weight[needed] *= 0.01

    def gradients(copied):
        for parameter in copied.parameters():
            parameter.grad = torch.ones_like(parameter)
        inner = copied.parts[0].body[-1].first
        for parameter in (*inner.parameters(), copied.parts[0].body[-1].second[0].weight):
            parameter.grad.zero_()
        inner[0].weight.grad[needed] = 1

    pruned, _ = prune(network, 0.5, Pruning(importance="taylor"), gradients)
    kept = block.first[0].weight[sorted(needed.tolist())]
    assert torch.equal(pruned.parts[0].body[-1].first[0].weight, kept)
    with pytest.raises(ValueError, match="needs gradients"):
        prune(network, 0.5, Pruning(importance="taylor"))


def test_taylor_also_prunes_what_is_not_trained():
    """The filters of airbench's stem and the scales of its norms have no gradient in training."""
    network = build(small_arch("airbench", ("max", "gap"), width=16, size=16))

    def gradients(copied):
        sum(out.square().sum() for out in copied(torch.rand(4, 1, 16, 16) * 255)).backward()

    pruned, arch = prune(network, 0.5, Pruning(importance="taylor"), gradients)
    assert [block.width for block in arch.blocks] == [8, 16]
    assert not pruned.parts[0].body[1][0].weight.requires_grad


def test_shapes_are_all_different_ones_with_their_least_share():
    network = build(small_arch("resnet", ("gap", "gap"), width=24))
    found = shapes(network)
    every = [(ratio, prune(network, ratio)[1]) for ratio in GRID]
    assert {arch for _, arch in found} == {arch for _, arch in every} - {network.arch}
    assert all(ratio == min(r for r, other in every if other == arch) for ratio, arch in found)
    macs = [macs_per_exit(EarlyExitNetwork(arch, [0.0], [1.0]))[-1] for _, arch in found]
    assert macs == sorted(macs, reverse=True)


def multiply_adds(network, images):
    """Of every convolution and linear layer by hand: its weights, each times the places where it is used."""
    counts = []

    def count(layer, _, out):
        counts.append(layer.weight.numel() * (out.shape[-2] * out.shape[-1] if isinstance(layer, nn.Conv2d) else 1))

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return sum(counts)


CASES = [(family, scope) for scope in ("layer", "global") for family in FAMILIES] + [("bottleneck", "stage")]


@pytest.mark.parametrize(("family", "scope"), CASES)
def test_a_larger_share_never_leaves_more_and_one_multiple_always_stays(family, scope):
    network = build(small_arch(family, ("erde", "conv", "wide"), width=48 if family == SHUFFLED else 40))
    before, how = widths(network.arch), Pruning(scope=scope)
    assert prune(network, 0.0, how)[1] == network.arch
    left, macs = before, multiply_adds(network, IMAGES[:1])
    for share in (0.5, 0.6, 0.9, 0.99):
        pruned, arch = prune(network, share, how)
        now = widths(arch)
        assert all(new <= old for new, old in zip(now, left, strict=True))
        assert all(new % 8 == 0 and new >= 8 for new, old in zip(now, before, strict=True) if new != old)
        left, last, macs = now, macs, multiply_adds(pruned.eval(), IMAGES[:1])
        assert macs <= last
    lost = [new == 8 for new, old in zip(now, before, strict=True) if old > 8 and new != old]
    assert lost
    assert all(lost)  # next to everything goes: each layer that may lose channels has one multiple left
    with torch.no_grad():
        expected = torch.stack(pruned(IMAGES)).numpy()
    deployed = run_segments([model.SerializeToString() for model in export_segments(pruned)], IMAGES.numpy())
    np.testing.assert_allclose(deployed, expected, atol=1e-4)


@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_a_layer_keeps_what_the_share_leaves_in_whole_multiples(multiple):
    for channels in (3, 8, 12, 40, 58, 80):
        for percent in range(1, 100):
            scores = {"a": torch.rand(channels, generator=torch.Generator().manual_seed(percent))}
            left = channels * (100 - percent) // 100
            expected = min(channels, max(multiple, left // multiple * multiple))
            assert kept_channels(scores, {"a": channels}, percent / 100, {"a": "a"}, multiple) == {"a": expected}
    assert rounded(12, 12, 8) == 12  # nothing goes, so nothing is rounded


def test_channels_of_least_worth_go_first_whatever_their_layer():
    scores = {"a": torch.tensor([9.0, 1, 8, 2]), "b": torch.tensor([3.0, 7, 6, 5]), "c": torch.tensor([0.0, 0])}
    whole, scopes = {"a": 4, "b": 4, "c": 2}, {"a": 1, "b": 1, "c": 2}
    assert kept_channels(scores, whole, 0.5, scopes, 1) == {"a": 2, "b": 2, "c": 1}
    assert kept_channels(scores, whole, 0.25, scopes, 1) == {"a": 2, "b": 4, "c": 1}
    assert kept_channels(scores, whole, 0.25, scopes, 4) == {"a": 4, "b": 4, "c": 2}


@pytest.mark.parametrize("family", ["resnet", "bottleneck", SHUFFLED])
def test_steps_leave_what_one_shot_leaves(family):
    network = build(small_arch(family, HEADS, width=40))
    pruned = network
    for step in (1, 2, 3, 4):
        pruned, arch = prune(pruned, 0.5 * step / 4, whole=network)
    assert arch == prune(network, 0.5)[1]
