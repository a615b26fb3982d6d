"""Layers with fewer channels: what loses channels together in a network, and the layers that are left then."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Gone = Mapping[str, Mapping[str, Tensor]]
"""By the name of a layer the numbers of its channels that go: of those that it gives ("out") and takes ("in")."""


@dataclass(frozen=True)
class Member:
    """One side of a layer: its channel number `channels[i]` goes with number `roots[i]` of its group, both (n,)."""

    layer: str
    side: str  # "out" or "in"
    channels: Tensor
    roots: Tensor


@dataclass(frozen=True)
class Group:
    """What loses channels together. `order` (channels,) has the channel of most worth first; `stage` says in words
    where in the network it is."""

    stage: str
    order: Tensor
    members: tuple[Member, ...]

    @property
    def channels(self) -> int:
        """How many there are in the network as it is."""
        return len(self.order)


def gone_channels(groups: Sequence[Group], widths: Sequence[int]) -> dict[str, dict[str, Tensor]]:
    """What goes where each group keeps as many channels as `widths` says, those of most worth."""
    found: dict[str, dict[str, Tensor]] = {}
    for group, width in zip(groups, widths, strict=True):
        if width == group.channels:
            continue
        going = torch.zeros(group.channels, dtype=torch.bool)
        going[group.order[width:]] = True
        for member in group.members:
            sides, fresh = found.setdefault(member.layer, {}), member.channels[going[member.roots]]
            sides[member.side] = torch.cat([sides.get(member.side, fresh[:0]), fresh])
    return found


def is_depthwise(layer: nn.Module) -> bool:
    """Whether it is a convolution of each channel by itself."""
    return isinstance(layer, _ConvNd) and 1 < layer.groups == layer.in_channels == layer.out_channels


def can_shrink(layer: nn.Module) -> bool:
    """Whether `narrowed` knows what to do."""
    if isinstance(layer, _ConvNd):
        return not layer.transposed and (layer.groups == 1 or is_depthwise(layer))
    return isinstance(layer, nn.Linear | _BatchNorm)


def narrowed(layer: nn.Module, gone: Mapping[str, Tensor]) -> nn.Module:
    """A copy without some channels, with the weights of the others; the layer itself where none goes."""
    if not gone:
        return layer
    made: Any = copy.deepcopy(layer)
    if isinstance(layer, _BatchNorm):
        made.num_features = _slice_(made, ("weight", "bias", "running_mean", "running_var"), 0, gone.get("out"))
        return made
    given = _slice_(made, ("weight", "bias"), 0, gone.get("out"))
    if isinstance(layer, nn.Linear):
        made.out_features, made.in_features = given, _slice_(made, ("weight",), 1, gone.get("in"))
        return made
    made.out_channels = given
    if is_depthwise(layer):
        made.in_channels = made.groups = given
    else:
        made.in_channels = _slice_(made, ("weight",), 1, gone.get("in"))
    return made


def _slice_(layer: nn.Module, names: Sequence[str], axis: int, gone: Tensor | None) -> int:
    """Leave out channels of tensors on an axis, in place; how many there are then."""
    left = 0
    for name in names:
        tensor = getattr(layer, name)
        if tensor is None:
            continue
        stays = torch.ones(tensor.shape[axis], dtype=torch.bool)
        if gone is not None:
            stays[gone] = False
        numbers = stays.nonzero().flatten()
        left = len(numbers)
        kept = tensor.detach().index_select(axis, numbers)
        setattr(layer, name, nn.Parameter(kept) if isinstance(tensor, nn.Parameter) else kept)
    return left
