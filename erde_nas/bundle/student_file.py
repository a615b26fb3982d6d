"""What student.json says of a bundle. docs/deploy.md explains every field."""

from dataclasses import dataclass, field
from typing import Any, Literal

from erde_nas.report_data.point import Point, Role, Stage
from erde_nas.report_data.report import ExitRuleFacts

SCHEMA = 1
FILE = "student.json"


@dataclass(frozen=True)
class ShippedLatency:
    """Milliseconds per image under one profile. An estimate has a mean alone.

    `interval`, `noisy` and `interrupted` say how far the numbers hold: report_data/uncertainty.py.
    """

    mean: float
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    interval: tuple[float, float] | None = None
    noisy: bool = False
    interrupted: float | None = None
    source: Literal["measured", "estimated"] = "measured"


@dataclass(frozen=True)
class TradeOff:
    """An operating point of one of the files: `run.py` chooses from these when a budget is given."""

    model: str
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_accuracy: float
    test_accuracy: float | None
    test_accuracy_ci95: tuple[float, float] | None
    latency_ms: dict[str, ShippedLatency]  # by profile


@dataclass(frozen=True)
class ShippedBaseline:
    """What the student was measured beside; `label` is what a reader calls it."""

    label: str
    role: Role
    stage: Stage
    val_accuracy: float
    test_accuracy: float | None
    test_accuracy_ci95: tuple[float, float] | None
    macs: float | None
    latency_ms: dict[str, ShippedLatency]


@dataclass(frozen=True)
class Normalisation:
    """Per channel, of pixels scaled to [0, 1]."""

    where: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class ImageInput:
    """What an image must be. `size` is its side, or (height, width) where it is not square."""

    name: str
    channels: int
    size: int | tuple[int, int]
    layout: str
    pixels: str
    colour: str
    normalisation: Normalisation


@dataclass(frozen=True)
class ShippedModel:
    """One ONNX file and its segments. `reasons` say why it is not offered."""

    format: str
    runtime: str
    precision: str
    instructions: tuple[str, ...]
    thresholds: tuple[float, ...]
    segments: tuple[str, ...]
    offered: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Conditions:
    """The conditions of a profile; of a device elsewhere not its address, only that it was another one."""

    runtime: str
    device: str
    threads: int
    batch_size: int
    precision: str
    description: str
    elsewhere: bool


@dataclass(frozen=True)
class ShippedData:
    """The data set, with images per split."""

    name: str
    train: int
    validation: int
    test: int
    fingerprint: str
    licence: str
    section: dict[str, Any] = field(default_factory=dict)  # of the recipe, without a path


@dataclass(frozen=True)
class MeasuredOn:
    """The machine of the run."""

    cpu: str
    cores: int
    platform: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Provenance:
    """Where the student comes from."""

    made_with: str
    recipe: str
    seed: int
    teacher: str
    measured_on: MeasuredOn


@dataclass(frozen=True)
class StudentFile:
    """student.json: what the student takes, answers and costs, and where it comes from."""

    schema: int
    student: str
    stage: Stage
    input: ImageInput
    output: dict[str, str]
    classes: tuple[str, ...]
    default: TradeOff
    trade_offs: tuple[TradeOff, ...]
    profiles: dict[str, Conditions]
    measurements: tuple[Point, ...]
    baselines: tuple[ShippedBaseline, ...]
    arch: dict[str, Any]  # `Arch.to_dict()`
    data: ShippedData
    provenance: Provenance
    models: dict[str, ShippedModel]  # by file name
    other_formats: dict[str, Any]  # of bundle/formats.py
    exit_rule: ExitRuleFacts = field(default_factory=ExitRuleFacts)
    files: dict[str, dict[str, str | int]] = field(default_factory=dict)  # sha256 and bytes of every other file
