"""Exit heads: features of one block -> logits.

`erde` is the head of the ERDE paper (arXiv 2510.04856); `gap` averages globally, `conv` looks once more at half the
resolution. Every head starts with a batch norm and a ReLU, so that it works on the linear output of an inverted
residual too.
"""

from collections.abc import Callable

from torch import Tensor, nn


class Head(nn.Module):
    """`features` ends in (batch, n, h, w); one fully connected layer makes logits (batch, classes) of it."""

    def __init__(self, features: nn.Sequential, inputs: int, classes: int) -> None:
        super().__init__()
        self.features: nn.Sequential = features
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, classes)."""
        return self.classifier(self.features(x).flatten(1))


def _erde(channels: int, size: int, classes: int, width: int) -> Head:
    window = min(2, size)
    features = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AvgPool2d(window), nn.Dropout(0.5))
    return Head(features, channels * (size // window) ** 2, classes)


def _gap(channels: int, size: int, classes: int, width: int) -> Head:
    return Head(nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AvgPool2d(size)), channels, classes)


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


HEADS: dict[str, Callable[[int, int, int, int], Head]] = {"erde": _erde, "gap": _gap, "conv": _conv}


def build_head(kind: str, *, channels: int, size: int, classes: int, width: int) -> Head:
    """A head for features (batch, channels, size, size). `width` is used by `conv` alone."""
    return HEADS[kind](channels, size, classes, width)
