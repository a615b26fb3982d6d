"""MACs against counts by hand and against PyTorch's own FLOP counter (a multiply-add is two of its FLOPs)."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from erde_nas.compression.prune import prune
from erde_nas.distil.teachers.wrapper import ProgramTeacher
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.macs import count_macs, exit_macs, macs_per_exit, parameter_count
from tests.networks.builders import build, small_arch

EXITS = [Exit(0, "erde"), Exit(1, "conv"), Exit(2, "gap")]


def by_flop_counter(network):
    """For each exit the FLOPs of the segments up to it, halved."""
    x = torch.zeros(1, network.arch.in_channels, network.arch.image_size, network.arch.image_size)
    counts = []
    for number in range(len(network.segments)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            features = x
            for segment in network.parts[: number + 1]:
                features, _ = segment(features)
        assert counter.get_total_flops() % 2 == 0
        counts.append(counter.get_total_flops() // 2)
    return tuple(counts)


def test_resnet_by_hand():
    arch = make_arch(
        "resnet",
        image_shape=(3, 16, 16),
        classes=5,
        stem=8,
        stages=[StageChoice(1, 8), StageChoice(2, 16)],
        exits=EXITS,
    )
    pixels, half = 16 * 16, 8 * 8
    stem = 3 * 3 * 3 * 8 * pixels
    block0 = 2 * (3 * 3 * 8 * 8 * pixels)
    erde = (8 * 8 * 8) * 5  # 8 channels of 8×8 after pooling
    block1 = 3 * 3 * 8 * 16 * half + 3 * 3 * 16 * 16 * half + 8 * 16 * half  # two convolutions and the projection
    conv = 3 * 3 * 16 * 16 * (4 * 4) + 16 * 5
    block2 = 2 * (3 * 3 * 16 * 16 * half)
    gap = 16 * 5
    first = stem + block0 + erde
    second = first + block1 + conv
    assert macs_per_exit(build(arch)) == (first, second, second + block2 + gap)


def test_mobilenet_by_hand():
    arch = make_arch(
        "mobilenet",
        image_shape=(1, 32, 32),
        classes=10,
        stem=16,
        stages=[StageChoice(1, 16, 3, 2), StageChoice(2, 24, 5, 4)],
        exits=EXITS,
    )
    pixels, half = 32 * 32, 16 * 16
    stem = 3 * 3 * 1 * 16 * pixels
    block0 = 16 * 32 * pixels + 3 * 3 * 32 * pixels + 32 * 16 * pixels  # expand, depthwise, project
    erde = (16 * 16 * 16) * 10
    block1 = 16 * 64 * pixels + 5 * 5 * 64 * half + 64 * 24 * half  # the expansion still sees the full resolution
    conv = 3 * 3 * 24 * 24 * (8 * 8) + 24 * 10
    block2 = 24 * 96 * half + 5 * 5 * 96 * half + 96 * 24 * half
    gap = 24 * 10
    first = stem + block0 + erde
    second = first + block1 + conv
    assert macs_per_exit(build(arch)) == (first, second, second + block2 + gap)


@pytest.mark.parametrize("size", [8, 28, 64, 128])
@pytest.mark.parametrize("family", ["resnet", "mobilenet"])
def test_every_prefix_is_what_pytorch_counts(family, size):
    heads = ("gap", "erde", "conv", "gap") if size == 28 else ("conv", "gap")
    network = build(small_arch(family, heads, channels=3, size=size, classes=7, width=16))
    assert macs_per_exit(network) == by_flop_counter(network)


@pytest.mark.parametrize("size", [8, 28, 128])
@pytest.mark.parametrize("family", ["resnet", "wrn", "bottleneck", "vgg", "mobilenet", "shufflenet"])
def test_parts_counted_once_add_up_to_the_network(family, size):
    arch = small_arch(family, ("conv", "erde", "gap"), channels=3, size=size, classes=7, width=16)
    assert exit_macs(arch) == macs_per_exit(build(arch))


@pytest.mark.parametrize("family", ["resnet", "mobilenet"])
def test_pruned_networks_too(family):
    network = build(small_arch(family, ("erde", "conv", "gap"), width=24))
    pruned, _ = prune(network, 0.5)
    pruned.eval()
    assert macs_per_exit(pruned) == by_flop_counter(pruned)
    assert all(a < b for a, b in zip(macs_per_exit(pruned), macs_per_exit(network), strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_network_as_it_was(training):
    network = build(small_arch("resnet", ("erde", "gap"))).train(training)
    before = copy.deepcopy(network.state_dict())
    macs_per_exit(network)
    count_macs(network, torch.zeros(1, 1, 8, 8))
    assert all(module.training is training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert pickle.loads(pickle.dumps(network)).arch == network.arch


class OwnTeacher(nn.Module):
    """A module of somebody else: biases everywhere, and an argument with a name of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 4, 3, padding=1), nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.classifier = nn.Linear(6, 5)

    def forward(self, pictures):
        return self.classifier(torch.relu(self.up(self.conv(pictures))).mean((2, 3)))


BATCH = torch.export.Dim("batch")
OWN_MACS = 3 * 3 * 3 * 4 * 64 + 2 * 2 * 4 * 6 * 64 + 6 * 5


def test_modules_with_biases_and_other_argument_names():
    assert count_macs(OwnTeacher(), torch.zeros(1, 3, 8, 8)) == OWN_MACS


def test_a_program_teacher_is_counted():
    program = torch.export.export(OwnTeacher().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: BATCH},))
    teacher = ProgramTeacher(program.module(), SimpleNamespace(mean=[0.5] * 3, std=[0.5] * 3))
    assert count_macs(teacher, torch.zeros(1, 3, 8, 8)) == OWN_MACS
    assert count_macs(teacher.program, torch.zeros(1, 3, 8, 8)) == OWN_MACS


def test_parameters_are_counted_without_buffers():
    arch = make_arch(
        "resnet", image_shape=(1, 8, 8), classes=3, stem=8, stages=[StageChoice(1, 8)], exits=[Exit(0, "gap")]
    )
    bn = 2 * 8
    stem, block, head = 9 * 8 + bn, 2 * (9 * 8 * 8 + bn), bn + 8 * 3 + 3
    assert parameter_count(build(arch)) == stem + block + head
