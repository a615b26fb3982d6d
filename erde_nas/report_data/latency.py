"""Latency of a file under a profile, as pareto.json holds it. Milliseconds per image, bytes, millijoules."""

from dataclasses import dataclass
from typing import Literal


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

    def cost(self, objective: str = "mean") -> float | None:
        """What a profile's objective says of it, in milliseconds, or millijoules for energy; None where that was not
        measured."""
        found: float | None = self.energy_mj if objective == "energy" else getattr(self, objective)
        return found
