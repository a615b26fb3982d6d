"""Exit heads: features of one block -> logits.

`erde` is the head of the ERDE paper (arXiv 2510.04856); `gap` averages globally; `pool2` and `pool4` average into 2×2
and 4×4 places; `conv` looks once more at half the resolution. All these start with a batch
norm and a ReLU, so that they suit the linear output of an inverted residual and of a pre-activation block too.
Published networks end in `linear` (global averages alone), in `gap` (wide residual networks), or in `wide` (MobileNetV2
and ShuffleNetV2: a 1×1 convolution to many channels first). `max` ends airbench's networks (arXiv 2404.00498): global
maxima, and logits divided by 9.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.registry import HEADS


class Head(nn.Module):
    """`features` ends in (batch, n, h, w); one fully connected layer makes logits (batch, classes) of it."""

    def __init__(self, features: nn.Sequential, inputs: int, classes: int) -> None:
        super().__init__()
        self.features: nn.Sequential = features
        self.classifier = nn.Linear(inputs, classes)

    def width(self) -> int:
        """The channels that leave the head's convolution, 0 where it has none."""
        return next((layer.out_channels for layer in self.features if isinstance(layer, nn.Conv2d)), 0)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, classes)."""
        return self.classifier(self.features(x).flatten(1))

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, h, w) -> the features behind the head's last norm (batch, n, h, w), before its ReLU, or `x`
        where it has no norm; and the logits (batch, classes)."""
        last = max((i for i, layer in enumerate(self.features) if isinstance(layer, nn.BatchNorm2d)), default=-1)
        normed = x
        for number, layer in enumerate(self.features):
            x = layer(x)
            normed = x if number == last else normed
        return normed, self.classifier(x.flatten(1))


def _erde(channels: int, size: int, classes: int, width: int) -> Head:
    window = min(2, size)
    features = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AvgPool2d(window), nn.Dropout(0.5))
    return Head(features, channels * (size // window) ** 2, classes)


def _gap(channels: int, size: int, classes: int, width: int) -> Head:
    return Head(nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AvgPool2d(size)), channels, classes)


def _pooled(side: int) -> Callable[[int, int, int, int], Head]:
    """Makes heads that keep `side` × `side` places, or more where that does not divide the features' side."""

    def make(channels: int, size: int, classes: int, width: int) -> Head:
        window = max(1, size // side)
        features = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AvgPool2d(window))
        return Head(features, channels * (size // window) ** 2, classes)

    return make


def _conv(channels: int, size: int, classes: int, width: int) -> Head:
    features = nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AvgPool2d((size + 1) // 2),
    )
    return Head(features, width, classes)


def _linear(channels: int, size: int, classes: int, width: int) -> Head:
    return Head(nn.Sequential(nn.AvgPool2d(size)), channels, classes)


def _wide(channels: int, size: int, classes: int, width: int) -> Head:
    features = nn.Sequential(
        nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(size)
    )
    return Head(features, width, classes)


class _DividedLinear(nn.Linear):
    """Its weights count a ninth, so that a high learning rate suits them as well as the convolutions before."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) -> (batch, classes)."""
        return F.linear(x, self.weight / 9, self.bias)


def _max(channels: int, size: int, classes: int, width: int) -> Head:
    head = Head(nn.Sequential(nn.MaxPool2d(size)), channels, classes)
    head.classifier = _DividedLinear(channels, classes)
    return head


@dataclass(frozen=True)
class HeadKind:
    """A kind of head: `make` builds it from (channels, side of the features, classes, width inside). `width` is how
    many times as wide as its block it is inside; 0: nothing is inside."""

    make: Callable[[int, int, int, int], Head]
    width: int = 0


ERDE, GAP, LINEAR, MAX = HeadKind(_erde), HeadKind(_gap), HeadKind(_linear), HeadKind(_max)
POOL2, POOL4 = HeadKind(_pooled(2)), HeadKind(_pooled(4))
CONV, WIDE = HeadKind(_conv, width=1), HeadKind(_wide, width=4)


def build_head(kind: str, *, channels: int, size: int, classes: int, width: int) -> Head:
    """A head for features (batch, channels, size, size). `width` is that of the convolution in `conv` and `wide`."""
    return cast(Head, HEADS[kind].make(channels, size, classes, width))
