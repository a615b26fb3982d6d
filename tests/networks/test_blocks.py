"""Blocks against the same convolutions written with torch.nn.functional."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from erde_nas.networks.arch import Block
from erde_nas.networks.blocks import build_block, is_block
from erde_nas.networks.blocks.mobile import InvertedResidual, ShuffleUnit, shuffle
from erde_nas.networks.blocks.plain import PlainBlock
from erde_nas.networks.blocks.pooled import PooledBlock
from erde_nas.networks.blocks.residual import BasicBlock, Bottleneck, PreActivation
from erde_nas.registry import FAMILIES


def trained(block):
    """The block in eval mode, its batch norms away from the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in block.state_dict().items():
        if tensor.is_floating_point():
            offset = 0.5 if "running_var" in name else -0.5
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + offset)
    return block.eval()


def batch_norm(x, state, name):
    mean, var, scale, shift = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, scale, shift)


def conv_bn(x, state, name, **options):
    weight = state[f"{name}.0.weight"]
    return batch_norm(functional.conv2d(x, weight, padding=weight.shape[-1] // 2, **options), state, f"{name}.1")


def features(channels):
    return torch.randn(2, channels, 7, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("inputs", "block"),
    [
        (8, Block(8, 8, 3, 1, "identity")),
        (8, Block(16, 24, 3, 2, "projection")),
        (8, Block(16, 16, 5, 1, "projection")),
        (8, Block(16, 8, 3, 2, "none")),
    ],
)
def test_basic_block(inputs, block):
    module = trained(BasicBlock(inputs, block))
    state, x = module.state_dict(), features(inputs)
    y = conv_bn(torch.relu(conv_bn(x, state, "first", stride=block.stride)), state, "second")
    if block.skip == "identity":
        y = y + x
    if block.skip == "projection":
        y = y + conv_bn(x, state, "skip", stride=block.stride)
    torch.testing.assert_close(module(x), torch.relu(y))
    assert y.shape == (2, block.width, -(-7 // block.stride), -(-7 // block.stride))


@pytest.mark.parametrize("block", [Block(8, 16, 5, 1, "identity"), Block(16, 24, 3, 2, "none")])
def test_inverted_residual_ends_without_a_relu(block):
    module = trained(InvertedResidual(8, block))
    state, x = module.state_dict(), features(8)
    y = torch.relu(conv_bn(x, state, "expand"))
    y = torch.relu(conv_bn(y, state, "depthwise", stride=block.stride, groups=block.hidden))
    y = conv_bn(y, state, "project")
    torch.testing.assert_close(module(x), y + x if block.skip == "identity" else y)
    assert module(x).min() < 0


@pytest.mark.parametrize(
    ("inputs", "block"), [(16, Block(16, 8, 3, 1, "identity")), (8, Block(24, 16, 3, 2, "projection"))]
)
def test_bottleneck(inputs, block):
    module = trained(Bottleneck(inputs, block))
    state, x = module.state_dict(), features(inputs)
    y = torch.relu(conv_bn(x, state, "reduce"))
    y = torch.relu(conv_bn(y, state, "middle", stride=block.stride))
    y = conv_bn(y, state, "restore")
    y = y + (x if block.skip == "identity" else conv_bn(x, state, "skip", stride=2))
    torch.testing.assert_close(module(x), torch.relu(y))


@pytest.mark.parametrize(
    ("inputs", "block"),
    [
        (8, Block(8, 16, 3, 1, "identity")),
        (8, Block(16, 16, 3, 2, "projection")),
        (8, Block(16, 8, 5, 1, "projection")),
        (8, Block(16, 8, 3, 2, "none")),
    ],
)
def test_pre_activation_projects_what_is_normalised_and_passes_on_what_is_not(inputs, block):
    module = trained(PreActivation(inputs, block))
    state, x = module.state_dict(), features(inputs)
    activated = torch.relu(batch_norm(x, state, "first_norm"))
    y = functional.conv2d(activated, state["first.weight"], stride=block.stride, padding=block.kernel // 2)
    y = torch.relu(batch_norm(y, state, "second_norm"))
    y = functional.conv2d(y, state["second.weight"], padding=block.kernel // 2)
    if block.skip == "identity":
        y = y + x
    if block.skip == "projection":
        y = y + functional.conv2d(activated, state["projection.weight"], stride=block.stride)
    torch.testing.assert_close(module(x), y)
    assert module(x).min() < 0


@pytest.mark.parametrize("block", [Block(16, 0, 3, 1, "none"), Block(16, 0, 5, 2, "none")])
def test_plain_block_pools_before_its_convolution(block):
    module = trained(PlainBlock(8, block))
    x = features(8)
    pooled = x
    if block.stride == 2:  # 7×7 -> 4×4: the last row and column are pooled alone
        padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
        pooled = torch.from_numpy(padded.reshape(2, 8, 4, 2, 4, 2).max((3, 5)))
    torch.testing.assert_close(module(x), torch.relu(conv_bn(pooled, module.state_dict(), "conv")))


def pooled_block(stride, inputs=8):
    """One whose batch norm does something, with the scale of 1 that it keeps."""
    module = trained(PooledBlock(inputs, Block(16, 0, 3, stride, "none")))
    module.norm.weight.data.fill_(1.0)
    return module


def normed(y, module):
    return batch_norm(y, module.state_dict(), "norm")


@pytest.mark.parametrize("stride", [1, 2])
def test_pooled_block_pools_behind_its_convolution(stride):
    module, x = pooled_block(stride), features(8)
    y = functional.conv2d(x, module.conv.weight, padding=1)
    if stride == 2:  # 7×7 -> 3×3: the last row and column are left out
        y = y[:, :, :6, :6].unflatten(2, (3, 2)).unflatten(4, (3, 2)).amax((3, 5))
    torch.testing.assert_close(module(x), functional.gelu(normed(y, module)))


def test_pooled_block_normalises_in_training_what_pooling_leaves():
    module, x = pooled_block(2).train(), features(8)
    y = functional.max_pool2d(functional.conv2d(x, module.conv.weight, padding=1), 2)
    y = (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(module(x), functional.gelu(y + module.norm.bias[:, None, None]))
    assert [name for name, weight in module.named_parameters() if not weight.requires_grad] == ["norm.weight"]


def test_pooled_block_starts_as_the_identity_and_keeps_a_side_of_1():
    weight = PooledBlock(8, Block(16, 0, 3, 2, "none")).conv.weight
    x = features(8)
    torch.testing.assert_close(functional.conv2d(x, weight, padding=1)[:, :8], x)
    assert weight[8:].std() > 0
    assert pooled_block(2)(x[:, :, :1, :1]).shape == (2, 16, 1, 1)


def branch(x, state, block):
    """The branch of a shuffle unit that every unit has."""
    y = torch.relu(conv_bn(x, state, "expand"))
    y = conv_bn(y, state, "depthwise", stride=block.stride, groups=block.hidden)  # no ReLU behind it
    return torch.relu(conv_bn(y, state, "project"))


def in_turn(left, right):
    """Channel 2i is channel i of `left`, channel 2i + 1 that of `right`."""
    left, right = left.detach().numpy(), right.detach().numpy()
    channels = [(left, right)[number % 2][:, number // 2] for number in range(2 * left.shape[1])]
    return torch.from_numpy(np.stack(channels, axis=1))


def test_shuffle_takes_channels_in_turn():
    left, right = features(5), features(5) + 1
    assert torch.equal(shuffle(left, right), in_turn(left, right))
    # The same as two groups of channels, transposed (Zhang et al., CVPR 2018, fig. 1c).
    both = np.concatenate([left.numpy(), right.numpy()], axis=1)
    transposed = both.reshape(2, 2, 5, 7, 7).transpose(0, 2, 1, 3, 4).reshape(2, 10, 7, 7)
    np.testing.assert_array_equal(shuffle(left, right).numpy(), transposed)


@pytest.mark.parametrize("hidden", [8, 24])
def test_shuffle_unit_passes_half_of_its_channels_on(hidden):
    block = Block(16, hidden, 5, 1, "identity")
    module, x = trained(ShuffleUnit(16, block)), features(16)
    torch.testing.assert_close(module(x), in_turn(x[:, :8], branch(x[:, 8:], module.state_dict(), block)))


@pytest.mark.parametrize(("inputs", "stride"), [(8, 2), (24, 1), (16, 2)])
def test_shuffle_unit_that_changes_the_shape_has_two_branches(inputs, stride):
    block = Block(16, 8, 3, stride, "projection")
    module, x = trained(ShuffleUnit(inputs, block)), features(inputs)
    state = module.state_dict()
    left = conv_bn(x, state, "left.0", stride=stride, groups=inputs)
    left = torch.relu(conv_bn(left, state, "left.1"))
    torch.testing.assert_close(module(x), in_turn(left, branch(x, state, block)))


@pytest.mark.parametrize(
    ("inputs", "block"),
    [(8, Block(15, 8, 3, 1, "projection")), (8, Block(16, 8)), (16, Block(16, 8, 3, 2, "identity"))],
)
def test_halves_that_differ_are_refused(inputs, block):
    with pytest.raises(ValueError, match=rf"but got Block\(width={block.width}, .* on {inputs} channels"):
        ShuffleUnit(inputs, block)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_block_is_known_and_tells_its_channels(family):
    hidden = 0 if family in ("vgg", "airbench") else 24
    block = Block(16, hidden, 3, 2, "none" if hidden == 0 or family == "mobilenet" else "projection")
    module = build_block(family, 8, block)
    assert is_block(module)
    assert module.channels() == (block.width, block.hidden)
