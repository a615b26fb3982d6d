"""The shape of an early-exit network, as a value: blocks, exits, widths."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

MOST_PIXELS, MOST_BLOCKS, MOST_WIDTH = 4096, 16_000, 1_000_000  # an architecture may come from a file of others
Skip = Literal["identity", "projection", "none"]


@dataclass(frozen=True)
class Block:
    """One block: `width` channels leave it, `hidden` channels are inside it (0: nothing is)."""

    width: int
    hidden: int
    kernel: int = 3
    stride: int = 1
    skip: Skip = "identity"


@dataclass(frozen=True)
class Exit:
    """An exit head of kind `head` on the output of block number `block` (counted from 0)."""

    block: int
    head: str


@dataclass(frozen=True)
class OwnShape:
    """What is left of a network of the user's own: `program` is its digest, `widths` are the channels that each of its
    groups keeps, `skipped` the numbers of the blocks that do not run."""

    program: str
    widths: tuple[int, ...]
    skipped: tuple[int, ...] = ()

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "OwnShape":
        """Of JSON-ready values."""
        return OwnShape(data["program"], tuple(data["widths"]), tuple(data["skipped"]))


@dataclass(frozen=True)
class Arch:
    """Everything that determines the shape of an early-exit network, pruned ones included.

    The last exit sits on the last block. `head_widths[i]` is the width inside exit head i (0 where it has none).
    `stem_stride` is that of the stem's convolution in small images; it is at least 2 in large ones. `hints` are the
    blocks that end a stage where the literature counts other stages than resolutions, and `weights` says how a network
    starts: as torch's layers do, or as the published networks of its family. A student of the user's `own` network has
    one block for each place at which an exit may sit, and one up to the logits.
    """

    family: str
    in_channels: int
    image_size: int
    classes: int
    stem: int
    blocks: tuple[Block, ...]
    exits: tuple[Exit, ...]
    head_widths: tuple[int, ...]
    stem_kernel: int = 3
    stem_stride: int = 1
    hints: tuple[int, ...] = ()
    weights: str = "torch"
    own: OwnShape | None = None

    def __post_init__(self) -> None:
        sizes = (self.in_channels, self.classes, self.stem, *(block.width for block in self.blocks))
        sizes += (*(block.hidden for block in self.blocks), *self.head_widths)
        if not 1 <= self.image_size <= MOST_PIXELS or len(self.blocks) > MOST_BLOCKS:
            raise ValueError(f"images of {self.image_size} pixels and {len(self.blocks)} blocks are no network of ours")
        if min(sizes) < 0 or max(sizes) > MOST_WIDTH:
            raise ValueError(f"widths must be from 0 to {MOST_WIDTH}, but are {min(sizes)} to {max(sizes)}")

    @cached_property
    def id(self) -> str:
        """Ten hexadecimal digits that depend on the shape alone."""
        canonical = self._to_json(sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]

    def to_dict(self) -> dict[str, Any]:
        """The architecture as JSON-ready values. What has a default is left out where it has that value, so that a
        field that comes later changes no id."""
        return json.loads(self._to_json())

    def _to_json(self, **style: Any) -> str:
        defaults = {field.name: field.default for field in fields(self)}
        values = {name: value for name in defaults if (value := getattr(self, name)) != defaults[name]}
        return json.dumps(
            values, default=vars, **style
        )  # asdict takes ten times as long, and searchers ask for many ids

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Arch":
        """The inverse of `to_dict`. Raises KeyError or TypeError on other input."""
        return Arch(
            **{
                **data,
                "blocks": tuple(Block(**block) for block in data["blocks"]),
                "exits": tuple(Exit(**exit_) for exit_ in data["exits"]),
                "head_widths": tuple(data["head_widths"]),
                "hints": tuple(data.get("hints", ())),
                "own": OwnShape.from_dict(data["own"]) if data.get("own") else None,
            }
        )
