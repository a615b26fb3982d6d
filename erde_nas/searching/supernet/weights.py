"""The weights that all architectures of one family share, and the slice of them that one architecture uses.

Once-for-all, Cai et al., ICLR 2020, arXiv 1908.09791: narrower layers use the first channels, shallower stages the
first blocks, smaller kernels the middle of the larger ones. Every block has a head of each kind, as wide as its input.
There is no second implementation of the blocks: an ordinary `EarlyExitNetwork` runs on views of the shared tensors, so
that its gradients flow into them.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork

Weights = dict[str, Tensor]
"""Shared tensors by their place in the family (`block1.0.first.0.weight`), each as large as any architecture needs."""

LAYERS_BEFORE = 2  # in the first segment's body before its first block: the normalisation of pixels and the stem


def places(arch: Arch) -> list[tuple[int, int]]:
    """For each block its stage and position in it; a stage begins where resolution or width changes."""
    found: list[tuple[int, int]] = []
    for number, block in enumerate(arch.blocks):
        stage, position = found[-1] if found else (0, -1)
        begins = number > 0 and (block.stride > 1 or block.width != arch.blocks[number - 1].width)
        found.append((stage + 1, 0) if begins else (stage, position + 1))
    return found


def shared_names(network: EarlyExitNetwork) -> dict[str, str]:
    """The name of every parameter of `network` -> the name of the shared tensor that it is cut from."""
    prefixes = {"segments.0.body.1": "stem"}
    segment, layer = 0, LAYERS_BEFORE
    for number, (stage, position) in enumerate(places(network.arch)):
        prefixes[f"segments.{segment}.body.{layer}"] = f"block{stage}.{position}"
        layer += 1
        exit_ = network.arch.exits[segment]
        if exit_.block == number:
            prefixes[f"segments.{segment}.head"] = f"head{stage}.{position}.{exit_.head}"
            segment, layer = segment + 1, 0
    names = {}
    for name, _ in network.named_parameters():
        parts = name.split(".")
        split = 4 if parts[2] == "body" else 3
        names[name] = ".".join([prefixes[".".join(parts[:split])], *parts[split:]])
    return names


def cut(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A view of `tensor`: its first channels on the first two axes, its middle on the axes of a kernel."""
    for axis, (large, small) in enumerate(zip(tensor.shape, shape, strict=True)):
        tensor = tensor.narrow(axis, 0 if axis < 2 else (large - small) // 2, small)
    return tensor


def union(networks: Iterable[EarlyExitNetwork]) -> Weights:
    """Tensors large enough for all `networks`, with their weights; where two use the same, the later one's count.

    What no network covers is 0.
    """
    parts = [(name, network.get_parameter(own)) for network in networks for own, name in shared_names(network).items()]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, parameter in parts:
        shapes[name] = tuple(map(max, parameter.shape, shapes.get(name, parameter.shape)))
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name, parameter in parts:
        cut(weights[name], parameter.shape).copy_(parameter.detach())
    return weights


def extract_(network: EarlyExitNetwork, weights: Mapping[str, Tensor]) -> EarlyExitNetwork:
    """Give `network` a copy of its slice; its batch norms' statistics are left alone. Returns it."""
    with torch.no_grad():
        for own, name in shared_names(network).items():
            parameter = network.get_parameter(own)
            parameter.copy_(cut(weights[name], parameter.shape))
    return network


def bind_(network: EarlyExitNetwork, weights: Mapping[str, Tensor]) -> EarlyExitNetwork:
    """Let `network` run on its slice itself: it has no parameters of its own afterwards. Returns it."""
    for own, name in shared_names(network).items():
        path, _, leaf = own.rpartition(".")
        module = network.get_submodule(path)
        shape = getattr(module, leaf).shape
        del module._parameters[leaf]
        setattr(module, leaf, cut(weights[name], shape))
    return network
