"""Published networks: parameters and MACs against a walk through their papers' tables, written out by hand."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from erde_nas.networks.families import stage_ends
from erde_nas.networks.macs import macs_per_exit, parameter_count
from erde_nas.networks.models import MODELS, model_arch
from erde_nas.networks.network import EarlyExitNetwork, describe

# For 100 classes, as the public code bases of CRD and mdistiller count them (VGG with the biases of its convolutions).
PARAMETERS = {
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "wrn-16-2": 703_284,
    "wrn-40-1": 569_780,
    "wrn-40-2": 2_255_156,
    "wrn-28-4": 5_872_180,
    "vgg8": 3_965_028,
    "vgg13": 9_462_180,
    "mobilenetv2": 812_836,
    "shufflenetv2": 1_355_528,
    "resnet50": 23_705_252,
    "airbench94": 1_995_832,  # without the classifier's biases
}
LIGHT = ("resnet8x4", "wrn-16-2", "wrn-40-1", "vgg8", "mobilenetv2", "shufflenetv2", "airbench94")


class Walk:
    """Adds up what the layers of a network for 3×32×32 images and 100 classes cost. `side` is that of the features."""

    def __init__(self):
        self.parameters, self.macs, self.biases, self.side = 0, 0, 0, 32

    def conv(self, kernel, inputs, outputs, *, norm=True, groups=1, side=None):
        weights = kernel * kernel * inputs * outputs // groups
        self.parameters += weights + (2 * outputs if norm else 0)
        self.macs += weights * (side or self.side) ** 2
        return outputs

    def norm(self, channels):
        self.parameters += 2 * channels

    def classes(self, inputs):
        self.parameters += inputs * 100 + 100
        self.macs += inputs * 100


def resnet(each, widths):
    """He et al., section 4.2, with 1×1 projections where the shape changes."""
    walk = Walk()
    inputs = walk.conv(3, 3, widths[0])
    for stage, width in enumerate(widths[1:]):
        for _ in range(each):
            before, walk.side = walk.side, 32 >> stage
            walk.conv(3, inputs, width)
            walk.conv(3, width, width)
            if inputs != width or before != walk.side:
                walk.conv(1, inputs, width)
            inputs = width
    walk.classes(inputs)
    return walk


def wrn(depth, factor):
    """Zagoruyko & Komodakis, table 1: norms before convolutions, projections without one, a norm at the end."""
    walk = Walk()
    inputs = walk.conv(3, 3, 16, norm=False)
    for stage, width in enumerate((16 * factor, 32 * factor, 64 * factor)):
        walk.side = 32 >> stage
        for _ in range((depth - 4) // 6):
            walk.norm(inputs)
            walk.conv(3, inputs, width, norm=False)
            walk.norm(width)
            walk.conv(3, width, width, norm=False)
            if inputs != width:
                walk.conv(1, inputs, width, norm=False)
            inputs = width
    walk.norm(inputs)
    walk.classes(inputs)
    return walk


def vgg(each):
    """Simonyan & Zisserman, table 1, B with batch norm; three poolings, not five, and one layer for the classes."""
    walk, inputs = Walk(), 3
    for stage, width in enumerate((64, 128, 256, 512, 512)):
        walk.side = (32, 16, 8, 4, 4)[stage]
        for _ in range(each):
            walk.biases += width
            inputs = walk.conv(3, inputs, width)
    walk.classes(inputs)
    return walk


def mobilenetv2():
    """Sandler et al., table 2 at half the width, with a stride of 1 in the second row."""
    walk = Walk()
    walk.side = 16
    inputs = walk.conv(3, 3, 16)
    rows = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, channels, repeats, stride in rows:
        for repeat in range(repeats):
            inner = walk.conv(1, inputs, inputs * expansion)
            walk.side //= stride if repeat == 0 else 1
            walk.conv(3, inner, inner, groups=inner)
            inputs = walk.conv(1, inner, channels // 2)
    walk.classes(walk.conv(1, inputs, 1280))
    return walk


def shufflenetv2():
    """Ma et al., table 5, 1×, with a 1×1 stem that keeps the resolution."""
    walk = Walk()
    inputs = walk.conv(1, 3, 24)
    for channels, units in ((116, 4), (232, 8), (464, 4)):
        half, fine = channels // 2, walk.side
        walk.side //= 2
        walk.conv(3, inputs, inputs, groups=inputs)
        walk.conv(1, inputs, half)
        walk.conv(1, inputs, half, side=fine)
        walk.conv(3, half, half, groups=half)
        walk.conv(1, half, half)
        for _ in range(units - 1):
            walk.conv(1, half, half)
            walk.conv(3, half, half, groups=half)
            walk.conv(1, half, half)
        inputs = channels
    walk.classes(walk.conv(1, inputs, 1024))
    return walk


def resnet50():
    """He et al., table 1, with a 3×3 stem that keeps the resolution; the stride is that of the 3×3 convolution."""
    walk = Walk()
    inputs = walk.conv(3, 3, 64)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = 64 << stage
        for block in range(blocks):
            fine, walk.side = walk.side, 32 >> stage
            walk.conv(1, inputs, inner, side=fine)
            walk.conv(3, inner, inner)
            walk.conv(1, inner, 4 * inner)
            if block == 0:
                walk.conv(1, inputs, 4 * inner)
            inputs = 4 * inner
    walk.classes(inputs)
    return walk


def airbench94():
    """Jordan 2024, listing 1: a 2×2 stem with biases, then two convolutions in each stage, of which the first pools."""
    walk = Walk()
    walk.side = 31
    inputs = walk.conv(2, 3, 24, norm=False)
    walk.parameters += 24
    for width in (64, 256, 256):
        inputs = walk.conv(3, inputs, width)
        walk.side //= 2
        walk.conv(3, width, width)
    walk.classes(inputs)
    walk.biases = -100
    return walk


WALKS = {
    "resnet8x4": lambda: resnet(1, (32, 64, 128, 256)),
    "resnet32x4": lambda: resnet(5, (32, 64, 128, 256)),
    "wrn-16-2": lambda: wrn(16, 2),
    "wrn-40-1": lambda: wrn(40, 1),
    "wrn-40-2": lambda: wrn(40, 2),
    "wrn-28-4": lambda: wrn(28, 4),
    "vgg8": lambda: vgg(1),
    "vgg13": lambda: vgg(2),
    "mobilenetv2": mobilenetv2,
    "shufflenetv2": shufflenetv2,
    "resnet50": resnet50,
    "airbench94": airbench94,
}


def arch_of(name, early=(), head="gap", size=32):
    return model_arch(MODELS[name], image_shape=(3, size, size), classes=100, early=early, head=head)


def network(arch):
    return EarlyExitNetwork(arch, [0.5] * 3, [0.25] * 3).eval()


def test_every_model_has_a_name_in_recipes():
    assert set(MODELS) == set(PARAMETERS)


@pytest.mark.parametrize("name", list(MODELS))
def test_parameters_are_the_published_ones(name):
    """VGG's convolutions have no bias here: the batch norm behind each would take it away again."""
    walk = WALKS[name]()
    with torch.device("meta"):
        count = parameter_count(network(arch_of(name)))
    assert count == walk.parameters
    assert count + walk.biases == PARAMETERS[name]
    assert (walk.biases > 0) == name.startswith("vgg")


@pytest.mark.parametrize("name", list(MODELS))
def test_macs_are_those_of_the_walk(name):
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(arch_of(name))(torch.zeros(1, 3, 32, 32))
    assert counter.get_total_flops() == 2 * WALKS[name]().macs


@pytest.mark.parametrize("name", LIGHT)
def test_our_own_count_of_macs_agrees(name):
    assert macs_per_exit(network(arch_of(name))) == (WALKS[name]().macs,)


@pytest.mark.parametrize(
    ("name", "sides", "channels"),
    [
        ("resnet8x4", [32, 16, 8], [64, 128, 256]),
        ("wrn-40-1", [32, 16, 8], [16, 32, 64]),
        ("vgg8", [16, 8, 4], [128, 256, 512]),
        ("vgg13", [32, 16, 8, 4], [64, 128, 256, 512]),
        ("mobilenetv2", [16, 8, 4, 2], [12, 16, 48, 160]),
        ("shufflenetv2", [16, 8, 4], [116, 232, 464]),
        ("resnet50", [32, 16, 8, 4], [256, 512, 1024, 2048]),
        ("airbench94", [15, 7, 3], [64, 256, 256]),
    ],
)
def test_stages_end_where_the_published_features_are_taken(name, sides, channels):
    ends = stage_ends(MODELS[name].blocks)
    with torch.device("meta"):
        early = network(arch_of(name, ends[:-1]))
        x, shapes = torch.zeros(1, 3, 32, 32), []
        for segment in early.parts:
            x, logits = segment(x)
            shapes.append(tuple(x.shape[1:]))
            assert logits.shape == (1, 100)
    assert shapes == [(c, s, s) for c, s in zip(channels, sides, strict=True)]


@pytest.mark.parametrize("name", list(MODELS))
def test_early_exits_leave_the_published_ending_alone(name):
    plain, early = arch_of(name), arch_of(name, [0, 1], "erde")
    assert [(e.block, e.head) for e in early.exits[:2]] == [(0, "erde"), (1, "erde")]
    assert (early.exits[2:], early.head_widths) == (plain.exits, (0, 0, *plain.head_widths))
    assert replace(early, exits=plain.exits, head_widths=plain.head_widths) == plain


@pytest.mark.parametrize(
    ("name", "kernels", "classifier", "no_bias"),
    [
        ("resnet8x4", True, None, False),
        ("wrn-16-2", True, None, True),
        ("vgg8", True, 0.01, True),
        ("mobilenetv2", True, 0.01, True),
        ("shufflenetv2", False, None, False),
    ],
)
def test_weights_start_as_in_the_public_code(name, kernels, classifier, no_bias):
    """A convolution's deviation is √(2 / (k² · outputs)), or torch's uniform one, √(1 / (3 · k² · inputs))."""
    torch.manual_seed(0)
    built = network(arch_of(name)).requires_grad_(False)
    for module in built.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() >= 2000:
            outputs, inputs, height, width = module.weight.shape
            wanted = (2 / (height * width * outputs)) ** 0.5 if kernels else (1 / (3 * height * width * inputs)) ** 0.5
            assert float(module.weight.std()) == pytest.approx(wanted, rel=0.1)
            kurtosis = float((module.weight / module.weight.std()).pow(4).mean())
            assert kurtosis == pytest.approx(3.0 if kernels else 1.8, rel=0.2)  # of a normal, of a uniform distribution
    last = built.parts[-1].head.classifier
    wanted = classifier or (1 / (3 * last.in_features)) ** 0.5
    assert float(last.weight.std()) == pytest.approx(wanted, rel=0.05)
    assert bool(last.bias.any()) != no_bias


def test_networks_without_a_name_start_as_before():
    """A plain ResNet of the same shape as resnet8x4 has torch's first weights, and the id that it always had."""
    named = arch_of("resnet8x4")
    plain = replace(named, weights="torch")
    assert not {"weights", "hints"} & plain.to_dict().keys()
    torch.manual_seed(0)
    first = network(plain).parts[0].body[1][0].weight
    torch.manual_seed(0)
    assert torch.equal(first, torch.nn.Conv2d(3, 32, 3, bias=False).weight)


@pytest.mark.parametrize("size", [8, 28, 64])
@pytest.mark.parametrize("name", ["vgg8", "mobilenetv2", "shufflenetv2", "wrn-16-2"])
def test_models_take_images_of_other_sizes(name, size):
    arch = arch_of(name, [1], size=size)
    with torch.device("meta"):
        built = network(arch)
        assert [tuple(out.shape) for out in built(torch.zeros(2, 3, size, size))] == [(2, 100)] * 2
    assert describe(built) == arch
