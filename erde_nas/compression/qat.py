"""Quantization-aware training: a network learns with its body's convolutions rounded as their int8 file rounds them.

Weights are rounded per output channel to symmetric levels of 7 or 8 bits, which commutes with the batch norm behind
them; what enters a convolution is rounded to u8 over the range of the batch. Gradients pass straight through (Jacob et
al., CVPR 2018, section 3). Afterwards the usual exporter and quantizer find the same steps, since the weights lie on
them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.onnx_files.quantize import WEIGHT_LIMIT

TINY = 1e-8  # a channel of zeros has a step too


class _RoundedWeight(nn.Module):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in, k, k) -> the same on the levels from -limit to limit of each output channel."""
        scale = (weight.detach().abs().amax((1, 2, 3)) / self.limit).clamp_min(TINY)  # (out,)
        zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -self.limit, self.limit)


def rounded_activation(x: Tensor) -> Tensor:
    """`x` on a grid of 256 steps from its least to its largest value, 0 among them."""
    x = x.float()
    low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
    scale = ((high - low) / 255).clamp_min(TINY)
    zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


@contextmanager
def rounded(network: EarlyExitNetwork, weight_bits: int) -> Iterator[EarlyExitNetwork]:
    """Inside, the body's convolutions of `network` round; afterwards it holds the weights, rounded to so many bits."""
    layers = [m for part in network.parts for m in part.body.modules() if isinstance(m, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: rounded_activation(inputs[0])) for layer in layers]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", _RoundedWeight(WEIGHT_LIMIT[weight_bits]))
    try:
        yield network
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
