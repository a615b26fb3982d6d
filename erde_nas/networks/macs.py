"""MACs per exit with ptflops. One multiply-add is one MAC; activations, normalisation, pooling and biases count 0."""

import copy
import itertools
import warnings
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, TypeVar

import torch
from ptflops import get_model_complexity_info
from ptflops.aten_ops import conv_flop
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from erde_nas.networks.arch import Arch, Block
from erde_nas.networks.blocks import build_block
from erde_nas.networks.cascade import Cascade, cascade_costs
from erde_nas.networks.families import family_of
from erde_nas.networks.heads import build_head
from erde_nas.networks.network import EarlyExitNetwork, blank
from erde_nas.networks.segmented import SegmentedNetwork
from erde_nas.networks.stem import build_stem

M = TypeVar("M", bound=nn.Module)


def _addmm_macs(inputs: list[Any], outputs: tuple[Tensor, ...]) -> int:
    """A fully connected layer: inputs are bias, (batch, in) and (in, out). ptflops would count the bias as well."""
    return outputs[0].numel() * inputs[1].shape[1]


def _convolution_macs(inputs: list[Any], outputs: tuple[Tensor, ...]) -> int:
    """A convolution as ptflops counts it, but without its bias, which is the third input."""
    return conv_flop([*inputs[:2], None, *inputs[3:]], list(outputs))


def count_macs(module: nn.Module, x: Tensor) -> int:
    """MACs of `module` on one input `x` with a leading axis of 1. The module itself is left alone."""
    return count_own_macs(_copied(module), x)


def _copied(module: M) -> M:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, where a torch.export program is copied
        return copy.deepcopy(module)


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
def macs_per_exit(network: SegmentedNetwork | Cascade) -> tuple[int, ...]:
    """MACs of everything executed when an image leaves at each exit, the heads passed on the way included."""
    if isinstance(network, Cascade):
        assert isinstance(network.second, EarlyExitNetwork)  # those of another module are nobody's to count here
        return tuple(map(int, cascade_costs(macs_per_exit(network.first), macs_per_exit(network.second))))
    x, counts = torch.zeros(1, *network.image_shape), []
    for segment in _copied(network).cpu().eval().segments:
        with sdpa_kernel(SDPBackend.MATH):  # attention as matrix products, which can be counted
            counts.append(count_macs(segment, x))
        x = segment(x)[0]
    return tuple(itertools.accumulate(counts))


def exit_macs(arch: Arch) -> tuple[int, ...]:
    """What `macs_per_exit` says of the network that `arch` means, without building it whole.

    Its parts are counted once and remembered: a supernet's training draws a new architecture in every step.
    """
    if arch.own is not None:
        return _own(arch)
    total, size = _stem(replace(arch, blocks=(), exits=(), head_widths=()))
    heads = {exit_.block: (exit_.head, width) for exit_, width in zip(arch.exits, arch.head_widths, strict=True)}
    inputs, counts = arch.stem, []
    for number, block in enumerate(arch.blocks):
        total += _block(arch.family, inputs, block, size)
        inputs, size = block.width, family_of(arch.family).side(size, block.stride)
        if number in heads:
            kind, width = heads[number]
            total += _head(kind, inputs, size, arch.classes, width)
            counts.append(total)
    return tuple(counts)


@lru_cache(1024)
def _own(arch: Arch) -> tuple[int, ...]:
    return macs_per_exit(blank(arch))


@cache
def _stem(arch: Arch) -> tuple[int, int]:
    """MACs and the side of the output; `arch` has no blocks."""
    stem, size = build_stem(arch)
    return count_own_macs(stem.eval(), torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size)), size


@cache
def _block(family: str, inputs: int, block: Block, size: int) -> int:
    return count_own_macs(build_block(family, inputs, block).eval(), torch.zeros(1, inputs, size, size))


@cache
def _head(kind: str, inputs: int, size: int, classes: int, width: int) -> int:
    head = build_head(kind, channels=inputs, size=size, classes=classes, width=width)
    return count_own_macs(head.eval(), torch.zeros(1, inputs, size, size))


def parameter_count(network: EarlyExitNetwork) -> int:
    """Trainable numbers; buffers (running statistics, the input's normalisation) are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())
