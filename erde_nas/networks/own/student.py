"""A choice of exits, widths and blocks of a network of the user's own -> a student that inherits its weights."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, fx, nn

from erde_nas.networks.arch import Arch, Block, Exit, OwnShape
from erde_nas.networks.attached import FAMILY, LAST, AttachedHead, LastLogits, Place
from erde_nas.networks.families import head_width
from erde_nas.networks.own.base import OwnBase, base_of
from erde_nas.networks.own.narrow import gone_channels
from erde_nas.networks.own.pieces import pieces
from erde_nas.networks.segmented import Segment


class OwnBlock(nn.Module):
    """What a student has of the user's network between two places at which exits may sit."""

    def __init__(self, net: fx.GraphModule, width: int) -> None:
        super().__init__()
        self.net, self.width = net, width

    def channels(self) -> tuple[int, int]:
        """Those that leave it, and 0: what is inside does not belong to the block."""
        return self.width, 0

    def forward(self, x: Tensor) -> Tensor:
        """What is alive at a place -> what is alive at the next, each with the batch first."""
        found: Tensor = self.net(x)
        return found


def own_arch(base: OwnBase, widths: Sequence[int], skipped: Sequence[int], early: Iterable[Exit]) -> Arch:
    """The student in which each group keeps as many channels as `widths` says, without the blocks `skipped`, with
    `early` exits, each on the block that ends at its place, and the network's own."""
    places = [_narrow(base, number, widths) for number in range(len(base.places))]
    sides = [base.shape[1], *(place.shape[1] if place.kind == "map" else 0 for place in places)]
    strides = [max(1, round(before / after)) if after else 1 for before, after in pairwise(sides)]
    blocks = [Block(_channels(p), 0, 0, stride, "none") for p, stride in zip(places, strides, strict=True)]
    exits = sorted(early, key=lambda exit_: exit_.block)
    return Arch(
        FAMILY,
        base.shape[0],
        base.shape[1],
        base.classes,
        base.shape[0],
        (*blocks, Block(base.classes, 0, 0, 1, "none")),
        (*exits, Exit(len(blocks), LAST)),
        (*(head_width(exit_.head, places[exit_.block].condensed[0]) for exit_ in exits), 0),
        own=OwnShape(base.digest, tuple(widths), tuple(skipped)),
    )


def own_segments(arch: Arch, normalize: nn.Module) -> list[Segment]:
    """The segments of the network that `arch` means, with the weights of the user's; the exits' are drawn. `normalize`
    has buffers `scale` and `shift` (1, channels, 1, 1), which are filled.

    Raises UserError where the user's network is not known here, ValueError where it does not fit.
    """
    assert arch.own is not None
    base, own = base_of(arch.own.program), arch.own
    if len(own.widths) != len(base.groups) or len(arch.blocks) > len(base.places) + 1:
        raise ValueError(f"{len(own.widths)} widths and {len(arch.blocks)} blocks are not of {base.name}")
    normalize.load_state_dict({"scale": base.scale.view(1, -1, 1, 1), "shift": base.shift.view(1, -1, 1, 1)})
    nodes = {node.name: node for node in base.graph.graph.nodes}
    skips = [base.skips[number] for number in own.skipped]
    instead = {nodes[skip.node]: nodes[skip.source] for skip in skips}
    ends = [nodes[name] for name in base.nodes]
    parts = pieces(base.graph, ends, instead, gone_channels(base.groups, own.widths))
    heads = {exit_.block: (exit_.head, width) for exit_, width in zip(arch.exits, arch.head_widths, strict=True)}
    layers, segments = [normalize], []
    for number, (block, part) in enumerate(zip(arch.blocks, parts, strict=False)):
        layers.append(OwnBlock(part, block.width))
        if number in heads:
            kind, width = heads[number]
            head: nn.Module = LastLogits(base.order)
            if kind != LAST:
                head = AttachedHead(_narrow(base, number, own.widths), kind, arch.classes, width)
            segments.append(Segment(nn.Sequential(*layers), head))
            layers = []
    return segments


def own_described(arch: Arch, segments: Sequence[Segment]) -> Arch:
    """The architecture with the channels that the layers have now (after pruning)."""
    assert arch.own is not None
    base = base_of(arch.own.program)
    blocks = [layer for segment in segments for layer in segment.body if isinstance(layer, OwnBlock)]
    layers = {name: layer for block in blocks for name, layer in block.net.named_modules()}
    widths = list(arch.own.widths)
    for number, group in enumerate(base.groups):
        whole = [member.layer for member in group.members if member.side == "out" and member.layer in layers]
        for layer in (layers[name] for name in whole):
            if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
                widths[number] = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
                break
    places = [_narrow(base, number, widths) for number in range(len(base.places))]
    channels = [*map(_channels, places), base.classes]
    return replace(
        arch,
        blocks=tuple(replace(block, width=width) for block, width in zip(arch.blocks, channels, strict=False)),
        head_widths=tuple(segment.head.width() for segment in segments),
        own=replace(arch.own, widths=tuple(widths)),
    )


def own_layers(arch: Arch) -> dict[str, int]:
    """The layers of the user's network whose outputs can go, with the number of their group."""
    assert arch.own is not None
    groups = base_of(arch.own.program).groups
    return {m.layer: number for number, group in enumerate(groups) for m in group.members if m.side == "out"}


def _narrow(base: OwnBase, number: int, widths: Sequence[int]) -> Place:
    """A place with the channels that are left at it."""
    place, going = base.places[number], gone_channels(base.groups, widths).get(base.probe(number), {})
    left = _channels(place) - len(going.get("in", torch.empty(0)))
    shape = (left, *place.shape[1:]) if place.kind == "map" else (*place.shape[:-1], left)
    return replace(place, shape=shape)


def _channels(place: Place) -> int:
    return place.shape[0] if place.kind == "map" else place.shape[-1]
