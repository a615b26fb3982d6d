"""The stem: what it is made of, and that it leaves the side that it says."""

from dataclasses import replace

import pytest
import torch

from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.stem import build_stem
from tests.networks.builders import FAMILIES, build, small_arch


@pytest.mark.parametrize(
    ("size", "stride", "side"),
    [(28, 1, 28), (48, 1, 48), (49, 1, 25), (96, 1, 48), (97, 1, 25), (128, 1, 32), (32, 2, 16), (64, 2, 32)],
)
@pytest.mark.parametrize("family", ["resnet", "wrn"])
def test_images_are_halved_as_often_as_size_and_stride_say(family, size, stride, side):
    arch = replace(small_arch(family, ("gap",), size=size), stem_stride=stride)
    stem, promised = build_stem(arch)
    assert stem(torch.zeros(2, 1, size, size)).shape == (2, 8, side, side)
    assert promised == side
    assert EarlyExitNetwork(arch, [0.5], [0.25]).eval()(torch.zeros(1, 1, size, size))[0].shape == (1, 10)


@pytest.mark.parametrize("family", FAMILIES)
def test_wide_residual_networks_leave_the_norm_to_their_blocks_and_whitened_pixels_need_none(family):
    kinds = [type(layer).__name__ for layer in build_stem(small_arch(family, ("gap",)))[0]]
    others = {"wrn": ["Conv2d"], "airbench": ["WhiteningConv", "GELU"]}
    assert kinds == others.get(family, ["Conv2d", "BatchNorm2d", "ReLU"])


def test_the_kernel_may_be_a_point():
    network = build(replace(small_arch("shufflenet", ("gap",)), stem_kernel=1))
    assert network.parts[0].body[1][0].weight.shape == (8, 1, 1, 1)
