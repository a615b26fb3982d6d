"""Batch norm of few channels in bf16 with channels last, which torch's own kernel handles one channel vector at a time.

Eight bf16 channels fill a quarter of a 512-bit register, so the kernel of torch 2.13 takes 2-3 times as long as it
must. The same memory read as pixels of `channels · k` channels fills it: `k` neighbouring pixels become one. Statistics
of these wide channels are then combined to those of the narrow ones. Ioffe & Szegedy, ICML 2015, algorithm 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

FEW = 8  # channels; from 16 on torch's kernel is as fast
MANY = 2**19  # elements; below, the additional small operations cost more than they gain
WIDE = 64  # channels that keep every register full

_update_stats = torch.ops.aten.batch_norm_update_stats
_normalise = torch.ops.aten.native_batch_norm
_backward = torch.ops.aten.native_batch_norm_backward


def find_narrow(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms of few channels."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.num_features <= FEW]


@contextmanager
def wide_registers(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    """Meanwhile, `norms` train as described above where that is faster."""
    for norm in norms:
        norm.__dict__["forward"] = partial(_forward, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["forward"]


def _forward(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    usual = not norm.training or not norm.track_running_stats or norm.momentum is None or not norm.affine
    fits = x.dtype == torch.bfloat16 and x.is_contiguous(memory_format=torch.channels_last) and x.numel() >= MANY
    if usual or not fits:
        return nn.BatchNorm2d.forward(norm, x)
    output, mean, variance = NarrowBatchNorm.apply(x, norm.weight, norm.bias, norm.eps)
    with torch.no_grad():
        count = x.numel() / x.shape[1]
        norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        norm.running_mean.lerp_(mean, norm.momentum)  # type: ignore[union-attr,arg-type]
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)  # type: ignore[union-attr,arg-type]
    return output


class NarrowBatchNorm(torch.autograd.Function):
    """Training-mode batch norm of x (batch, channels, h, w), channels last: (output, mean, biased variance)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        wide = _widen(x)
        k = wide.shape[1] // x.shape[1]
        # The running statistics are given for their type alone: without them the results would be bf16.
        means, variances = _update_stats(wide, weight.new_zeros(wide.shape[1]), weight.new_ones(wide.shape[1]), 0.0)
        means, variances = means.view(k, -1), variances.view(k, -1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        output = _apply(wide, weight, bias, mean, variance, eps)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return _narrow(output, x), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance = ctx.saved_tensors
        wide, gradient = _widen(x), _widen(gradients[0].contiguous(memory_format=torch.channels_last))
        k, count = wide.shape[1] // x.shape[1], x.numel() / x.shape[1]
        repeated = [t.repeat(k) for t in (weight, mean, variance)]
        # As in eval mode: what flows back through fixed statistics. What flows through them is added below.
        d_wide, d_weight, d_bias = _backward(gradient, wide, *repeated, None, None, False, ctx.eps, [True, True, True])
        d_weight, d_bias = d_weight.view(k, -1).sum(0), d_bias.view(k, -1).sum(0)
        slope = -weight * torch.rsqrt(variance + ctx.eps) / count
        d_wide += _apply(wide, slope * d_weight, slope * d_bias, mean, variance, ctx.eps)
        return _narrow(d_wide, x), d_weight, d_bias, None


def _apply(wide: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """weight · (wide - mean) / √(variance + eps) + bias."""
    k = wide.shape[1] // len(weight)
    weight, bias, mean, variance = (t.repeat(k) for t in (weight, bias, mean, variance))
    return _normalise(wide, weight, bias, mean, variance, False, 0.0, eps)[0]


def _widen(x: Tensor) -> Tensor:
    """(n, c, h, w) channels last -> (n, c · k, h, w / k), the same memory."""
    n, c, h, w = x.shape
    k = max(1, WIDE // c)
    while w % k:
        k -= 1
    return x.permute(0, 2, 3, 1).view(n, h, w // k, c * k).permute(0, 3, 1, 2)


def _narrow(wide: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_widen`."""
    n, c, h, w = like.shape
    return wide.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)
