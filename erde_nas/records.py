"""The frozen records that the stages exchange. Needs little but the standard library and numpy.

Units: latencies in milliseconds, sizes in bytes, entropies and thresholds in nats, one multiply-add is one MAC.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np

from erde_nas.instructions import EXACT_INT8

Choice = str | int | float
Skip = Literal["identity", "projection", "none"]
Stage = Literal["searched", "finished", "pruned", "quantized"]


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
class Arch:
    """Everything that determines the shape of an early-exit network, pruned ones included.

    The last exit sits on the last block. `head_widths[i]` is the width inside exit head i (0 where it has none).
    `stem_stride` is that of the stem's convolution in small images; it is at least 2 in large ones. `hints` are the
    blocks that end a stage where the literature counts other stages than resolutions, and `weights` says how a network
    starts: as torch's layers do, or as the published networks of its family.
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
            }
        )


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width) uint8 and labels (n,) int64.

    Where the images stay on the disk (`data/pixels.py`), `images` is empty, (0, channels, height, width), and `paths`
    (n,) names the files as bytes. Validation and test are always in memory. Where images in memory have names, such as
    those of their files, `names` (n,) holds them as bytes.
    """

    images: np.ndarray
    labels: np.ndarray
    paths: np.ndarray | None = None
    names: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Disjoint splits of one data set. `mean` and `std` are per channel, of train, with pixels scaled to [0, 1]."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str  # hash of the pixels, the labels and the split
    remarks: tuple[str, ...] = ()  # what was taken for what, what was left out, what looks wrong: one line each


@dataclass(frozen=True)
class Proposal:
    """What a searcher wants evaluated. `attrs` is the searcher's own state, stored with the trial untouched."""

    params: dict[str, Choice]
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One evaluated candidate. Objectives are minimised; a constraint above 0 is violated; failed: no objectives."""

    number: int
    student: str
    params: dict[str, Choice]
    state: Literal["complete", "failed"]
    objectives: tuple[float, ...] = ()
    constraints: tuple[float, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Latency:
    """Latency of one deployable file under one hardware profile.

    Measured: mean, p50, p95, p99 per image over a stream of validation images, `expected_mean` from the cost of each
    exit. Estimated: `expected_mean` alone, the others are None.
    """

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    expected_mean: float
    per_exit: tuple[float, ...]
    source: Literal["measured", "estimated"]
    runtime: str
    device: str
    threads: int
    batch_size: int
    precision: str
    iqr_over_median: float | None = None
    interval: tuple[float, float] | None = None  # 95 %, of the mean
    noisy: bool = False  # the interval was still wide when the time allowance ended, or most calls were interrupted
    interrupted: float | None = None  # share of the calls that something else interrupted; they were timed again
    memory_bytes: int | None = None  # at the peak, beyond what the process held before it loaded the file
    energy_mj: float | None = None  # per image, where the hardware counts it
    versions: str = ""  # of the packages that ran it
    note: str = ""  # what else used the machine meanwhile
    p50_without_exits: float | None = None  # of the same student always run to the end, in the same processes


@dataclass(frozen=True)
class Point:
    """An operating point: a student with a threshold per exit but the last (POINT in pareto.json)."""

    student: str
    stage: Stage
    arch: dict[str, Any] | None
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_accuracy: float
    test_accuracy: float | None
    test_accuracy_ci95: tuple[float, float] | None
    macs: float | None
    macs_per_exit: tuple[float, ...] | None
    params: int | None
    size_bytes: int | None
    latency_ms: dict[str, Latency]
    file: str | None
    label: str = ""  # baselines: what it is; compressed students: why it is not offered
    offered: bool = True
    exit_accuracy: tuple[float, ...] | None = None  # on test, if every image left at that exit
    quantization: str = ""  # int8 files: static, mixed or qat, and what stayed in fp32
    instructions: tuple[str, ...] = ()  # one of which a CPU must have for this accuracy; none: any CPU will do

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON-ready values."""
        return json.loads(json.dumps(asdict(self)))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Point":
        """The inverse of `to_dict`, for points of this version or an earlier one."""
        tuples = ("thresholds", "exit_fractions", "test_accuracy_ci95", "macs_per_exit", "exit_accuracy")
        fixed = {key: None if data[key] is None else tuple(data[key]) for key in tuples}
        fixed["instructions"] = instructions_of(data)
        latency = {
            name: Latency(**{**entry, **{k: tuple(entry[k]) for k in ("per_exit", "interval") if entry[k] is not None}})
            for name, entry in data["latency_ms"].items()
        }
        return Point(**{**data, **fixed, "latency_ms": latency})


def instructions_of(point: Mapping[str, Any]) -> tuple[str, ...]:
    """`Point.instructions` of a point in JSON. int8 files that do not say it have 8-bit weights."""
    return tuple(point.get("instructions", EXACT_INT8 if point.get("quantization") else ()))
