"""How firm a measured latency is: reasons to doubt it, and how many of its digits are known."""

import math
from typing import Protocol

MOST_INTERRUPTED = 0.5  # of a file's calls; beyond that its numbers are CPU time rather than time
DIGITS = 3  # that are shown at most
WIDE = "noisy: its interval was still wide when the time allowance ended"
NOISY = 0.1  # of itself: how far a noisy mean without an interval may be off


class Timed(Protocol):
    """What is looked at of a latency (`front.latency.Latency`); the mean is None where it was not measured."""

    @property
    def mean(self) -> float | None: ...
    @property
    def p50(self) -> float | None: ...
    @property
    def p95(self) -> float | None: ...
    @property
    def interval(self) -> tuple[float, float] | None: ...
    @property
    def noisy(self) -> bool: ...
    @property
    def interrupted(self) -> float | None: ...


def doubts(latency: Timed | None) -> list[str]:
    """Why a measured latency is not to be relied on, in words; empty where nothing is known against it."""
    if latency is None or latency.mean is None:
        return []
    interrupted = latency.interrupted or 0.0
    found = []
    if interrupted > MOST_INTERRUPTED:
        found.append(f"{interrupted:.0%} of the calls were interrupted by others")
    elif latency.noisy:
        found.append(WIDE)
    if latency.p95 is not None and latency.mean > latency.p95:
        found.append("its mean is beyond its p95: a few calls decided it")
    return found


def doubts_of_both(student: Timed | None, teacher: Timed | None) -> list[str]:
    """Why their ratio is not to be relied on: each reason once, with whose latency it is about."""
    own, other = doubts(student), doubts(teacher)
    found = [f"both latencies: {reason}" for reason in own if reason in other]
    found += [f"the student's latency: {reason}" for reason in own if reason not in other]
    return found + [f"the teacher's latency: {reason}" for reason in other if reason not in own]


def uncertainty(latency: Timed | None) -> float:
    """How far the mean may be off, relative to itself; 0 where nothing is known of it."""
    if latency is None or not latency.mean:
        return 0.0
    mean, interval, p50, p95 = latency.mean, latency.interval, latency.p50, latency.p95
    known = max(interval[1] / mean - 1, 1 - interval[0] / mean) if interval else 0.0
    if p50 and p95 is not None and mean > p95:
        known = max(known, mean / p50 - 1)
    return max(known, NOISY) if doubts(latency) and not interval else known


def digits(value: float, uncertain: float) -> int:
    """Significant digits of a value that may be off by `uncertain` of itself: the last one is the first in doubt."""
    if not value or not uncertain or not math.isfinite(value):
        return DIGITS
    places = math.floor(math.log10(abs(value))) - math.floor(math.log10(abs(value) * uncertain))
    return min(DIGITS, max(1, places + 1))


def known(value: float, uncertain: float) -> str:
    """`value` with the digits that are known of it."""
    return significant(value, digits(value, uncertain))


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits and no exponent: 0.0452, 1.20, 12300."""
    if not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"
