"""What a candidate was found to be, for tests of several rooms: made-up numbers that need all of their digits."""

from collections.abc import Mapping, Sequence
from typing import Any

from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.space.findings import Findings, Judged

ARCH = make_arch(
    "resnet",
    image_shape=(1, 8, 8),
    classes=3,
    stem=8,
    stages=[StageChoice(2, 8)],
    exits=[Exit(0, "gap"), Exit(1, "gap")],
)


def judged(accuracies: Sequence[float] = (0.8, 2 / 3), **changes: Any) -> Judged:
    """A judged network whose curve has these accuracies."""
    values: dict[str, Any] = {
        "val_accuracy": max(accuracies), "thresholds": (1 / 7,), "exit_fractions": (0.25, 0.75),
        "val_exit_accuracy": (1 / 3, 0.8), "macs": 175.0, "macs_per_exit": (100, 200), "params": 10, "size_bytes": 40,
        "latency_ms": {"fast": 0.1 + 0.2}, "curve": tuple((a, cost / 11) for cost, a in enumerate(accuracies)),
    }  # fmt: skip
    return Judged(**{**values, **changes})


def findings(
    what: Judged | None = None, arch: Arch = ARCH, per_exit_ms: Mapping[str, Sequence[float]] | None = None
) -> Findings:
    """A candidate that was measured, and judged to be `what`."""
    times = {name: tuple(cost) for name, cost in (per_exit_ms or {"fast": (0.2, 0.6)}).items()}
    return Findings(arch, times, what, None if what is None else 1.339)
