"""Residual blocks against the same convolutions written with torch.nn.functional."""

import pytest
import torch
from torch.nn import functional

from erde_nas.records import Block
from erde_nas.students.blocks import BasicBlock, InvertedResidual


def trained(block):
    """The block in eval mode, its batch norms away from the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in block.state_dict().items():
        if tensor.is_floating_point():
            offset = 0.5 if "running_var" in name else -0.5
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + offset)
    return block.eval()


def conv_bn(x, state, name, **options):
    weight = state[f"{name}.0.weight"]
    x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2, **options)
    mean, var, scale, shift = (state[f"{name}.1.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, scale, shift)


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
    state, x = module.state_dict(), torch.randn(2, inputs, 7, 7, generator=torch.Generator().manual_seed(1))
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
    state, x = module.state_dict(), torch.randn(2, 8, 7, 7, generator=torch.Generator().manual_seed(1))
    y = torch.relu(conv_bn(x, state, "expand"))
    y = torch.relu(conv_bn(y, state, "depthwise", stride=block.stride, groups=block.hidden))
    y = conv_bn(y, state, "project")
    torch.testing.assert_close(module(x), y + x if block.skip == "identity" else y)
    assert module(x).min() < 0
