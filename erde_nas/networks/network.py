"""The early-exit network: one class for every family, for teachers and students.

It takes raw pixels (0..255) and normalises them itself, so that a deployed file needs no preprocessing.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from erde_nas.networks.arch import Arch
from erde_nas.networks.blocks import build_block, is_block
from erde_nas.networks.families import family_of, last_blocks, with_exits
from erde_nas.networks.gradient_flow import WHOLE, GradientFlow
from erde_nas.networks.heads import build_head
from erde_nas.networks.own.student import own_described, own_segments
from erde_nas.networks.published_init import start_as_published_
from erde_nas.networks.segmented import Segment, SegmentedNetwork
from erde_nas.networks.stem import build_stem


class Normalize(nn.Module):
    """Pixels 0..255 -> zero mean and unit variance per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float32))
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", (-torch.tensor(mean) / torch.tensor(std)).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, h, w) uint8 or float in 0..255 -> float32 of the same shape."""
        return images.float() * self.scale + self.shift


class EarlyExitNetwork(SegmentedNetwork):
    """`arch` as a network of segments; `arch.exits[i]` is the head of segment i. A student of the user's own network
    has the weights and the normalisation of that one."""

    def __init__(self, arch: Arch, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.arch = arch
        if arch.own is not None:
            self.segments = nn.ModuleList(own_segments(arch, Normalize(mean, std)))
            return
        stem, size = build_stem(arch)
        layers: list[nn.Module] = [Normalize(mean, std), stem]
        segments, inputs, heads = [], arch.stem, iter(zip(arch.exits, arch.head_widths, strict=True))
        exit_, width = next(heads)
        for number, block in enumerate(arch.blocks):
            layers.append(build_block(arch.family, inputs, block))
            inputs, size = block.width, family_of(arch.family).side(size, block.stride)
            if number == exit_.block:
                head = build_head(exit_.head, channels=inputs, size=size, classes=arch.classes, width=width)
                segments.append(Segment(nn.Sequential(*layers), head))
                layers, (exit_, width) = [], next(heads, (exit_, width))
        self.segments = nn.ModuleList(segments)
        if arch.weights != "torch":
            start_as_published_(self, arch.family)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, h, w) of the images that it takes."""
        return self.arch.in_channels, self.arch.image_size, self.arch.image_size

    def to_dict(self) -> dict[str, Any]:
        """What arch.json says of it."""
        return self.arch.to_dict()

    @property
    def hint_blocks(self) -> tuple[int, ...]:
        """The blocks after which `forward_all` gives features: every exit's, and the last of each stage."""
        return hint_blocks(self.arch)

    def forward_all(self, images: Tensor, flow: GradientFlow = WHOLE) -> tuple[list[Tensor], list[Tensor]]:
        """For training: the logits (batch, classes) of every exit, and the features (batch, channels, h, w) after each
        of `hint_blocks` and, last, those that the last classifier reads (`Head.read`).

        `flow` says what flows back from each exit and, where it is rescaled, from the features that lead to it.
        """
        return self._run(images, 0, flow)

    def forward_after(
        self, block: int, features: Tensor, flow: GradientFlow = WHOLE
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What `forward_all` gives behind block number `block`, were `features` (batch, channels, h, w) its output."""
        return self._run(features, block + 1, flow)

    def _run(self, x: Tensor, first: int, flow: GradientFlow) -> tuple[list[Tensor], list[Tensor]]:
        """Everything from block number `first` on; the stem belongs to block 0."""
        logits, features, block, hints = [], [], 0, set(self.hint_blocks)
        for number, segment in enumerate(self.parts):
            left = len(self.segments) - number  # exits from here on
            for layer in segment.body:
                x = layer(x) if block >= first else x
                if is_block(layer):
                    if block >= first and block in hints:
                        features.append(scale_gradient(x, 1 / left) if flow.rescaled else x)
                    block += 1
            if block > first:
                share = (1 / left if flow.rescaled else 1.0) * (flow.heads if left > 1 else 1.0)
                read, out = segment.head.read(scale_gradient(x, share))
                logits.append(out)
                if left == 1:
                    features.append(read)
                x = scale_gradient(x, (left - 1) / left) if flow.rescaled and left > 1 else x
        return logits, features


def hint_blocks(arch: Arch) -> tuple[int, ...]:
    """The blocks of `EarlyExitNetwork.hint_blocks`, shallowest first."""
    return tuple(sorted({*last_blocks(arch), *(exit_.block for exit_ in arch.exits)}))


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x` itself; its gradient is multiplied by `factor`."""
    if factor == 1:
        return x
    return _ScaleGradient.apply(x, factor) if factor else x.detach()


def blank(arch: Arch) -> EarlyExitNetwork:
    """A network whose numbers, those of its input's normalisation as well, are still to be loaded."""
    return EarlyExitNetwork(arch, [0.0] * arch.in_channels, [1.0] * arch.in_channels)


def on_device(network: EarlyExitNetwork, device: torch.device) -> EarlyExitNetwork:
    """The network itself, moved to `device`, channels last: the fastest layout for all but the smallest."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) over the last axis: (..., classes) -> (...)."""
    log_p = torch.log_softmax(logits.float(), dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


def describe(network: EarlyExitNetwork) -> Arch:
    """The architecture with the channel counts that the modules have now (after pruning)."""
    old = network.arch
    if old.own is not None:
        return own_described(old, network.parts)
    layers: list[Any] = [layer for segment in network.parts for layer in segment.body]
    stem, modules = layers[1][0], layers[2:]
    widths = [module.channels() for module in modules]
    return replace(
        old,
        stem=stem.out_channels,
        blocks=tuple(
            replace(block, width=width, hidden=hidden)
            for block, (width, hidden) in zip(old.blocks, widths, strict=True)
        ),
        head_widths=tuple(segment.head.width() for segment in network.parts),
    )


def keep_exits(network: EarlyExitNetwork, kept: Sequence[int]) -> EarlyExitNetwork:
    """A copy with the same weights and the exits `kept` (numbers, rising) alone; the last of them answers always, and
    what is behind it goes."""
    copied = copy.deepcopy(network)
    segments, layers = [], []
    for number, segment in enumerate(copied.parts):
        layers += list(segment.body)
        if number in kept:
            segments.append(Segment(nn.Sequential(*layers), segment.head))
            layers = []
    copied.segments = nn.ModuleList(segments)
    copied.arch = with_exits(network.arch, kept)
    return copied


def drop_early_exits(network: EarlyExitNetwork) -> EarlyExitNetwork:
    """A copy with the same weights that always runs to the end: the baseline that cannot stop early."""
    return keep_exits(network, [len(network.segments) - 1])
