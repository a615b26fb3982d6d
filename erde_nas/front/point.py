"""An operating point of a student, as pareto.json holds it. Thresholds in nats, sizes in bytes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from erde_nas.device.instructions import EXACT_INT8
from erde_nas.front.latency import Latency

Stage = Literal["searched", "finished", "pruned", "quantized"]


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
