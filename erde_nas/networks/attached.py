"""A trained network of the user's own with exits attached where it can be cut; its last exit is the network itself.

An exit first condenses what is alive at its place: a map to a few places by means, tokens to the first of them and the
mean of all. So a head costs little wherever it sits, and what it learns from can be kept in memory.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from erde_nas.networks.arch import Exit
from erde_nas.networks.families import head_width
from erde_nas.networks.heads import build_head
from erde_nas.networks.segmented import Segment, SegmentedNetwork

FAMILY = "own"
LAST = "own"  # the head of the last exit: the network's own
COARSE, FINE = 4, 8  # places per side that a condensed map keeps, more where it has few channels
NARROW = 64  # channels: a map with at most so many keeps the finer grid
Kind = Literal["map", "tokens", "vector"]


@dataclass(frozen=True)
class Place:
    """Where an exit may sit: the number of the cut, and what is alive there, without the batch.

    A map is (channels, h, w) or (channels, length), tokens are (n, channels) or (h, w, channels), a vector (channels,).
    """

    number: int
    kind: Kind
    shape: tuple[int, ...]

    @property
    def pooling(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Windows of a map, over which means are taken, and their strides: as many places a row as rows."""
        h, w = (*self.shape[1:], 1)[:2]
        side = FINE if self.shape[0] <= NARROW else COARSE
        if h == w:
            return (max(1, h // side),) * 2, (max(1, h // side),) * 2
        places = min(side, h, w)
        strides = h // places, w // places
        return (h - (places - 1) * strides[0], w - (places - 1) * strides[1]), strides

    @property
    def condensed(self) -> tuple[int, int]:
        """What a head sees: channels, and places per side."""
        if self.kind == "map":
            (window, _), (stride, _) = self.pooling
            return self.shape[0], (self.shape[1] - window) // stride + 1
        return (2 if self.kind == "tokens" and len(self.shape) == 2 else 1) * self.shape[-1], 1


class Condense(nn.Module):
    """What is alive at a place -> (batch, channels, side, side), as `Place.condensed` says."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.kind, self.axes = place.kind, len(place.shape)
        self.pool = nn.AvgPool2d(*place.pooling) if place.kind == "map" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """What is alive, (batch, *shape) -> (batch, channels, side, side)."""
        if self.kind == "map":
            return self.pool(x if self.axes == 3 else x.unsqueeze(-1))
        if self.kind == "tokens":  # tokens in a row may begin with one for the class
            x = torch.cat([x[:, 0], x.mean(1)], 1) if self.axes == 2 else x.flatten(1, 2).mean(1)
        return x.unsqueeze(-1).unsqueeze(-1)


class AttachedHead(nn.Module):
    """An exit on a place of a trained network."""

    def __init__(self, place: Place, kind: str, classes: int, width: int | None = None) -> None:
        """`width`: that inside the head, where it is not the usual one."""
        super().__init__()
        channels, side = place.condensed
        width = head_width(kind, channels) if width is None else width
        self.condense = Condense(place)
        self.head = build_head(kind, channels=channels, size=side, classes=classes, width=width)

    def width(self) -> int:
        """As `Head.width`."""
        return self.head.width()

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `Head.read`, of what is alive at the place."""
        return self.head.read(self.condense(x))

    def forward(self, x: Tensor) -> Tensor:
        """What is alive at the place -> logits (batch, classes)."""
        return self.head(self.condense(x))


class LastLogits(nn.Module):
    """The network's own logits in the data set's order of classes; `order` says which of them comes where."""

    order: Tensor | None

    def __init__(self, order: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def width(self) -> int:
        """As `Head.width`: nothing is inside."""
        return 0

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `Head.read`: the network's own logits, and those in the data set's order."""
        return x, self(x)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, classes) -> (batch, classes)."""
        return x if self.order is None else x.index_select(1, self.order)


@dataclass(frozen=True)
class AttachedArch:
    """Which network has exits where: `program` is its file, `block` of an exit the number of a cut of it."""

    program: str
    image_shape: tuple[int, int, int]
    classes: int
    exits: tuple[Exit, ...]  # the last one is the network's own

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"family": FAMILY, **asdict(self)}


class AttachedNetwork(SegmentedNetwork):
    """`arch` as a network of segments: `pieces` of the user's own between the exits' places, one more than `heads`.

    `prepare` makes of pixels 0..255 what the first piece takes, `last` are the network's own logits.
    """

    def __init__(
        self,
        arch: AttachedArch,
        pieces: Sequence[nn.Module],
        heads: Sequence[AttachedHead],
        prepare: nn.Module,
        last: LastLogits,
    ) -> None:
        super().__init__()
        self.arch = arch
        bodies = [nn.Sequential(prepare, pieces[0]), *(nn.Sequential(piece) for piece in pieces[1:])]
        ends = [*heads, last]
        self.segments = nn.ModuleList(Segment(body, head) for body, head in zip(bodies, ends, strict=True))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, h, w) of the images that it takes."""
        return self.arch.image_shape

    def to_dict(self) -> dict[str, Any]:
        """What arch.json says of it."""
        return self.arch.to_dict()
