"""What several processes of the agent reported of one file -> milliseconds with their spread.

Every image is timed in every process, so that a call which something slowed down is known: its image is faster in the
other processes. It counts with at most `WINSOR` times the image's lower quartile; what an image costs in most processes
is its own cost and stays.

The interval of a median over processes is that of order statistics, which assumes nothing of the distribution (Conover,
Practical Nonparametric Statistics, 3rd ed., section 3.2); it needs six processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import quantile_test

from erde_nas.device.agent.job import Disturbance, Times

LEAST_PROCESSES = 6  # the smallest and the largest of five hold the median with 94 % only
CONFIDENCE = 0.95
WINSOR = 1.5  # interruptions that the agent cannot see, and the calls after them, take several times as long
PerProcess = Sequence[Times]  # of one file


@dataclass(frozen=True)
class Stream:
    """Milliseconds per image over validation images in natural order; an image's time is its median over passes."""

    mean: float
    p50: float
    p95: float
    p99: float
    exit_fractions: tuple[float, ...]
    iqr_over_median: float | None  # of the processes' means; None for a single one
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
    noisy: bool = False  # the time allowance ended before the intervals were narrow, or too many calls were interrupted
    contention: str = ""  # what else used the machine meanwhile
    reference_ms: float = 0.0  # what the reference took for a batch
    memory_bytes: int | None = None  # at the peak, beyond what the process held before it loaded the file
    versions: str = ""  # of the packages that ran it
    disagreement: str = ""  # how the runtime answers differently from what was expected
    interrupted: float | None = None  # share of its calls that something else interrupted; they were timed again


def pool(found: PerProcess, reference_ms: float, batch_size: int, exits: int) -> Timing:
    """Pool the processes' ratios of one file; `reference_ms` is what the reference model takes for a batch."""
    scale = reference_ms / batch_size
    per_exit = [np.concatenate([process.exits[i] for process in found]) for i in range(exits)]
    memory = found[0].memory
    return Timing(
        tuple(float(np.median(ratios) * scale) for ratios in per_exit),
        max(_spread(ratios) for ratios in per_exit),
        tuple(_stream(found, number, scale, batch_size, exits) for number in range(len(found[0].streams))),
        tuple(tuple(float(np.median(ratios)) for ratios in process.exits) for process in found),
        tuple(zip(*(process_means(found, number) for number in range(len(found[0].streams))), strict=True)),
        memory_bytes=memory.peak - memory.before if memory else None,
        interrupted=_interrupted(found),
    )


def _interrupted(found: PerProcess) -> float:
    """The share of all processes' calls."""
    counts = [process.interrupted for process in found]
    return sum(c.interrupted for c in counts) / max(1, sum(c.calls for c in counts))


def _ratios(found: PerProcess, number: int) -> np.ndarray:
    """The ratios of a stream (processes, passes, calls), those of a call limited by its lower quartile."""
    ratios = np.array([process.streams[number].ratios for process in found])
    return np.minimum(ratios, WINSOR * np.percentile(ratios, 25, axis=(0, 1)))


def process_means(found: PerProcess, number: int) -> list[float]:
    """The mean ratio of a stream in each process: how much longer its calls take there than in all processes, as the
    median over the calls that leave at one exit, times what those take in all. So few calls decide no process."""
    ratios = _ratios(found, number)
    per_call = np.median(ratios, axis=(0, 1))
    taken = np.asarray(found[0].streams[number].exit_index)
    exits = taken if len(taken) == len(per_call) else np.zeros(len(per_call), int)  # batches leave at several exits
    groups = [exits == taken for taken in np.unique(exits)]
    shares = [float(per_call[group].sum()) / len(per_call) for group in groups]
    relative = np.median(ratios, axis=1) / per_call  # (processes, calls)
    return [
        float(sum(share * np.median(process[group]) for group, share in zip(groups, shares, strict=True)))
        for process in relative
    ]


def _stream(found: PerProcess, number: int, scale: float, batch_size: int, exits: int) -> Stream:
    stream = found[0].streams[number]
    per_call, means = np.median(_ratios(found, number), axis=(0, 1)) * scale, process_means(found, number)
    fractions = np.bincount(stream.exit_index, minlength=exits)
    mean, joules = float(per_call.mean()), stream.joules
    around = median_interval(means)
    p50, p95, p99 = map(float, np.percentile(per_call, [50, 95, 99]))
    return Stream(
        mean,
        p50,
        p95,
        p99,
        exit_fractions=tuple(float(f) for f in fractions / fractions.sum()),
        iqr_over_median=_spread(np.array(means)) if len(means) > 1 else None,
        interval=None if around is None else (mean * around[0], mean * around[1]),
        energy_mj=None if joules is None else 1e3 * joules / batch_size,
    )


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the values' median, relative to it; None for fewer than six values."""
    if len(values) < LEAST_PROCESSES:
        return None
    interval = quantile_test(values, p=0.5).confidence_interval(confidence_level=CONFIDENCE)
    median = float(np.median(values))
    return float(interval.low) / median, float(interval.high) / median


def narrow(found: PerProcess, interval: float) -> bool:
    """Whether the 95 % interval of every stream (of every exit where there is none) is within ±`interval`."""
    if found[0].streams:
        series = [process_means(found, number) for number in range(len(found[0].streams))]
    else:
        exits = range(len(found[0].exits))
        series = [[float(np.median(process.exits[i])) for process in found] for i in exits]
    around = [median_interval(values) for values in series]
    return all(ends is not None and 1 - ends[0] <= interval and ends[1] - 1 <= interval for ends in around)


def contention_text(reports: Sequence[Disturbance]) -> str:
    """What disturbed the processes, in words; empty where nothing did or nothing can be read."""
    said = []
    runnable = [report.runnable for report in reports if report.runnable is not None]
    cores = reports[0].cores
    if cores and runnable and np.mean(runnable) > cores + 0.05:
        said.append(f"{np.mean(runnable):.1f} runnable threads on {cores} cores")
    stolen = [report.steal for report in reports if report.steal is not None]
    if stolen and np.mean(stolen) > 0.01:
        said.append(f"{np.mean(stolen):.0%} of the time stolen by the hypervisor")
    rates = [rate for report in reports for rate in report.mhz]
    if rates and min(rates) < 0.9 * max(rates):
        said.append(f"the clock went from {min(rates):.0f} to {max(rates):.0f} MHz")
    return "; ".join(said)


def _spread(values: np.ndarray) -> float:
    """Interquartile range over median."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / median)
