"""An operating point of a student, as pareto.json holds it. Thresholds in nats, sizes in bytes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from erde_nas.device.instructions import EXACT_INT8
from erde_nas.front.latency import Latency

Stage = Literal["searched", "finished", "pruned", "quantized"]
Role = Literal["student", "teacher", "teacher_with_exits", "student_without_exits"]  # all but the first: baselines

# What earlier versions wrote as `label` of a baseline, before a comma and its precision.
_ROLE_OF_LABEL: dict[str, Role] = {
    "teacher": "teacher",
    "teacher with its own exits": "teacher_with_exits",
    "best student without exits": "student_without_exits",
}


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
    role: Role = "student"
    offered: bool = True
    reason: str = ""  # why it is not offered, for a reader; empty where it is
    dominated: bool = False  # it is not offered, and that others are better is the only reason
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
        data = without_label(data)
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


def without_label(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point in JSON with `role`, `reason` and `dominated`, for which earlier versions had one text, `label`."""
    rest = {key: value for key, value in point.items() if key != "label"}
    if "label" not in point:
        return rest
    label = point["label"]
    role = _ROLE_OF_LABEL.get(label.split(",")[0], "student")
    reason = label if role == "student" else ""
    return {**rest, "role": role, "reason": reason, "dominated": reason.startswith("dominated:")}
