"""What several processes of the agent reported of one file -> milliseconds with their spread.

The interval of a median over processes is that of order statistics, which assumes nothing of the distribution (Conover,
Practical Nonparametric Statistics, 3rd ed., section 3.2); it needs six processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import quantile_test

LEAST_PROCESSES = 6  # the smallest and the largest of five hold the median with 94 % only
CONFIDENCE = 0.95
Found = Sequence[dict[str, Any]]  # per process: exits, streams


@dataclass(frozen=True)
class Stream:
    """Milliseconds per image over validation images in natural order; an image's time is its median over passes."""

    mean: float
    p50: float
    p95: float
    p99: float
    exit_fractions: tuple[float, ...]
    iqr_over_median: float | None  # of the passes' means; None for a single pass
    interval: tuple[float, float] | None = None  # 95 %, of the mean; None below six processes
    energy_mj: float | None = None  # millijoules per image, where the hardware counts them


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image: (exits,) of each forced exit, and one Stream per operating point."""

    per_exit: tuple[float, ...]
    iqr_over_median: float
    streams: tuple[Stream, ...]
    process_exits: tuple[tuple[float, ...], ...] = ()  # (processes, exits) in units of the reference
    process_streams: tuple[tuple[float, ...], ...] = ()  # (processes, streams) likewise
    noisy: bool = False  # the time allowance ended before the intervals were narrow
    contention: str = ""  # what else used the machine meanwhile
    reference_ms: float = 0.0  # what the reference took for a batch
    memory_bytes: int | None = None  # at the peak, beyond what the process held before it loaded the file
    versions: str = ""  # of the packages that ran it
    disagreement: str = ""  # how the runtime answers differently from what was expected


def pool(found: Found, reference_ms: float, batch_size: int, exits: int) -> Timing:
    """Pool the processes' ratios of one file; `reference_ms` is what the reference model takes for a batch."""
    scale = reference_ms / batch_size
    per_exit = [np.concatenate([process["exits"][i] for process in found]) for i in range(exits)]
    memory = found[0].get("memory")
    return Timing(
        tuple(float(np.median(ratios) * scale) for ratios in per_exit),
        max(_spread(ratios) for ratios in per_exit),
        tuple(
            _stream([process["streams"][number] for process in found], scale, batch_size, exits)
            for number in range(len(found[0]["streams"]))
        ),
        tuple(tuple(float(np.median(ratios)) for ratios in process["exits"]) for process in found),
        tuple(tuple(_mean(stream) for stream in process["streams"]) for process in found),
        memory_bytes=memory["peak"] - memory["before"] if memory else None,
    )


def _stream(found: Found, scale: float, batch_size: int, exits: int) -> Stream:
    ratios = np.concatenate([process["ratios"] for process in found])  # (passes, calls)
    per_call = np.median(ratios, axis=0) * scale
    fractions = np.bincount(found[0]["exit_index"], minlength=exits)
    mean, joules = float(per_call.mean()), found[0].get("joules")
    around = median_interval([_mean(process) for process in found])
    p50, p95, p99 = map(float, np.percentile(per_call, [50, 95, 99]))
    return Stream(
        mean,
        p50,
        p95,
        p99,
        exit_fractions=tuple(float(f) for f in fractions / fractions.sum()),
        iqr_over_median=_spread(ratios.mean(1)) if len(ratios) > 1 else None,
        interval=None if around is None else (mean * around[0], mean * around[1]),
        energy_mj=None if joules is None else 1e3 * joules / batch_size,
    )


def _mean(stream: dict[str, Any]) -> float:
    """The mean ratio of a stream in one process."""
    return float(np.mean(stream["ratios"]))


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the values' median, relative to it; None for fewer than six values."""
    if len(values) < LEAST_PROCESSES:
        return None
    interval = quantile_test(values, p=0.5).confidence_interval(confidence_level=CONFIDENCE)
    median = float(np.median(values))
    return float(interval.low) / median, float(interval.high) / median


def narrow(found: Found, interval: float) -> bool:
    """Whether the 95 % interval of every stream (of every exit where there is none) is within ±`interval`."""
    if found[0]["streams"]:
        series = [[_mean(process["streams"][i]) for process in found] for i in range(len(found[0]["streams"]))]
    else:
        exits = range(len(found[0]["exits"]))
        series = [[float(np.median(process["exits"][i])) for process in found] for i in exits]
    around = [median_interval(values) for values in series]
    return all(ends is not None and 1 - ends[0] <= interval and ends[1] - 1 <= interval for ends in around)


def contention_text(reports: Sequence[dict[str, Any]]) -> str:
    """What disturbed the processes, in words; empty where nothing did or nothing can be read."""
    said = []
    runnable = [report["runnable"] for report in reports if "runnable" in report]
    cores = reports[0]["cores"]
    if runnable and np.mean(runnable) > cores + 0.05:
        said.append(f"{np.mean(runnable):.1f} runnable threads on {cores} cores")
    stolen = [report["steal"] for report in reports if "steal" in report]
    if stolen and np.mean(stolen) > 0.01:
        said.append(f"{np.mean(stolen):.0%} of the time stolen by the hypervisor")
    rates = [rate for report in reports for rate in report.get("mhz", ())]
    if rates and min(rates) < 0.9 * max(rates):
        said.append(f"the clock went from {min(rates):.0f} to {max(rates):.0f} MHz")
    return "; ".join(said)


def _spread(values: np.ndarray) -> float:
    """Interquartile range over median."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / median)
