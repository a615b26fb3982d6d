"""MACs per exit with ptflops. One multiply-add is one MAC; activations, normalisation, pooling and biases count 0."""

import copy
import itertools
import warnings
from typing import Any

import torch
from ptflops import get_model_complexity_info
from ptflops.aten_ops import conv_flop
from torch import Tensor, nn

from erde_nas.students.network import EarlyExitNetwork


def _addmm_macs(inputs: list[Any], outputs: tuple[Tensor, ...]) -> int:
    """A fully connected layer: inputs are bias, (batch, in) and (in, out). ptflops would count the bias as well."""
    return outputs[0].numel() * inputs[1].shape[1]


def _convolution_macs(inputs: list[Any], outputs: tuple[Tensor, ...]) -> int:
    """A convolution as ptflops counts it, but without its bias, which is the third input."""
    return conv_flop([*inputs[:2], None, *inputs[3:]], list(outputs))


def count_macs(module: nn.Module, x: Tensor) -> int:
    """MACs of `module` on one input `x` with a leading axis of 1. The module itself is left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, where a torch.export program is copied
        copied = copy.deepcopy(module)
    return count_own_macs(copied, x)


def count_own_macs(module: nn.Module, x: Tensor) -> int:
    """As `count_macs`, for a module that nobody needs afterwards: ptflops hooks it and leaves it unpicklable."""
    macs, _ = get_model_complexity_info(
        module,
        tuple(x.shape[1:]),
        input_constructor=lambda _: x,
        print_per_layer_stat=False,
        as_strings=False,
        backend="aten",
        custom_modules_hooks={torch.ops.aten.addmm: _addmm_macs, torch.ops.aten.convolution: _convolution_macs},
    )
    if macs is None:
        raise RuntimeError(f"ptflops could not count {type(module).__name__}")
    return int(macs)


@torch.no_grad()
def macs_per_exit(network: EarlyExitNetwork) -> tuple[int, ...]:
    """MACs of everything executed when an image leaves at each exit, the heads passed on the way included."""
    arch = network.arch
    x = torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size)
    counts = []
    for segment in copy.deepcopy(network).cpu().eval().segments:
        counts.append(count_macs(segment, x))
        x = segment(x)[0]
    return tuple(itertools.accumulate(counts))


def parameter_count(network: EarlyExitNetwork) -> int:
    """Trainable numbers; buffers (running statistics, the input's normalisation) are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())
