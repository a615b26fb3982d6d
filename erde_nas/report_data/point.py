"""An operating point of a student, as pareto.json holds it. Sizes in bytes, thresholds in the exit rule's unit."""

from dataclasses import dataclass
from typing import Any, Literal

from erde_nas.device.instructions import EXACT_INT8
from erde_nas.report_data.evidence import TestAnswers
from erde_nas.report_data.latency import Latency

Stage = Literal["searched", "finished", "pruned", "quantized"]
Role = Literal["student", "teacher", "teacher_with_exits", "student_without_exits"]  # all but the first: baselines
MEDIAN_WORSE = "p50 is worse than that of the same student without exits"  # a remark of a point begins so

# What earlier versions wrote as `label` of a baseline, before a comma and its precision.
_ROLE_OF_LABEL: dict[str, Role] = {
    "teacher": "teacher",
    "teacher with its own exits": "teacher_with_exits",
    "best student without exits": "student_without_exits",
}


@dataclass(frozen=True)
class Point:
    """An operating point: a student with a threshold per exit but the last (POINT in pareto.json).

    Raises ValueError where `arch` does not say on which blocks its exits sit.
    """

    student: str
    stage: Stage
    arch: dict[str, Any] | None  # `Arch.to_dict()`
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
    cascade: tuple[str, ...] = ()  # its two networks by name, where it is made of two: arch is null then
    averaged: float = 0.0  # the share of a cascade's first network in the logits of the second network's exits
    offered: bool = True
    reason: str = ""  # why it is not offered, for a reader; empty where it is
    dominated: bool = False  # it is not offered, and that others are better is the only reason
    exit_accuracy: tuple[float, ...] | None = None  # on test, if every image left at that exit
    quantization: str = ""  # int8 files: static, mixed or qat, and what stayed in fp32
    remarks: tuple[str, ...] = ()  # of its latency beside that of what it was made from; nothing is judged by them
    sha256: str = ""  # of the file when it was measured; runs of earlier versions do not say
    instructions: tuple[str, ...] = ()  # one of which a CPU must have for this accuracy; none: any CPU will do
    answers: TestAnswers | None = None  # what became of the test images

    def __post_init__(self) -> None:
        try:
            blocks = self.exit_blocks
        except (KeyError, TypeError):
            blocks = None
        if blocks is None or any(type(block) is not int for block in blocks):
            raise ValueError("arch must have exits, a list in which each has its block")

    @property
    def exit_blocks(self) -> tuple[int, ...]:
        """The blocks, counted from 0, on which its exits sit; empty where the architecture is not known."""
        return () if self.arch is None else tuple(exit_["block"] for exit_ in self.arch["exits"])


def as_today(point: Any) -> Any:
    """A point in JSON, of this version or an earlier one, with today's fields; what is no point as it is.

    Earlier versions had one text, `label`, for role and reason; their int8 files have 8-bit weights and do not say it.
    """
    if not isinstance(point, dict):
        return point
    found = {key: value for key, value in point.items() if key != "label"}
    if "instructions" not in found:
        found["instructions"] = list(EXACT_INT8) if found.get("quantization") else []
    label = point.get("label")
    if isinstance(label, str):
        role = _ROLE_OF_LABEL.get(label.split(",")[0], "student")
        reason = label if role == "student" else ""
        found |= {"role": role, "reason": reason, "dominated": reason.startswith("dominated:")}
    return found
