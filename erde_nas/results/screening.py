"""Which operating points a brief measurement rules out before the long one.

Accuracy on validation is what decides in the end, and it is known by now: the final measurement can only change what a
point costs. So a point is ruled out where, on every front on which it could stand, some other is at least as accurate
and certainly cheaper, by what is known of both costs: then no measurement would offer it. Pure functions of numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from erde_nas.measurement.statistics import Timing
from erde_nas.report_data.objectives import QUANTILES, expected_cost
from erde_nas.report_data.uncertainty import significant

NOISE = 0.03  # of a brief timing, at least: what the same file differs by from one measurement to the next


@dataclass(frozen=True)
class Span:
    """A cost, and the ends between which a thorough measurement will find it. Exact ones have equal ends."""

    low: float
    value: float
    high: float

    @staticmethod
    def exact(value: float) -> "Span":
        """A cost that no measurement changes."""
        return Span(value, value, value)


@dataclass(frozen=True)
class Candidate:
    """An operating point before it is measured in full. `costs` has the fronts on which it could stand, by profile and
    "macs"; `firm` those of them on which it counts against others, since it will surely stand there or be dominated.
    `beyond` says which limit it exceeds in any case."""

    name: str
    val_accuracy: float
    costs: Mapping[str, Span]
    firm: frozenset[str]
    kept: bool = False  # measured in full, whatever the others are
    beyond: str = ""
    units: Mapping[str, str] = field(default_factory=dict)  # by front, for a reader


def screen(candidates: Sequence[Candidate]) -> dict[int, str]:
    """The candidates that need no further measurement, with the reason of each.

    What rules out another is kept itself, or ruled out by one that rules out both.
    """
    accuracy = np.array([candidate.val_accuracy for candidate in candidates])
    left = {  # fronts on which nothing beats a candidate
        index: set(candidate.costs)
        for index, candidate in enumerate(candidates)
        if not candidate.kept and (candidate.costs or candidate.beyond)
    }
    beaten: dict[int, dict[str, np.ndarray]] = {index: {} for index in left}
    for front in {front for candidate in candidates for front in candidate.costs}:
        firm = [index for index, candidate in enumerate(candidates) if front in candidate.firm]
        high = np.array([candidates[index].costs[front].high for index in firm])
        for index in left:
            span = candidates[index].costs.get(front)
            if span is None:
                continue
            others = np.array(firm, int)
            better = (accuracy[others] >= accuracy[index]) & (high <= span.low) & (others != index)
            tie = (accuracy[others] == accuracy[index]) & (high == span.low) & (span.low == span.high)
            found = others[better & ~(tie & (others > index))]  # of equal ones the first stays
            if len(found):
                beaten[index][front] = found
                left[index].discard(front)
    out = {index for index, fronts in left.items() if not fronts}
    return {index: candidates[index].beyond or _reason(index, beaten[index], candidates, out) for index in out}


def _reason(index: int, beaten: Mapping[str, np.ndarray], candidates: Sequence[Candidate], out: set[int]) -> str:
    """By which candidate that stays, on the first front."""
    front = next(front for front in candidates[index].costs if front in beaten)
    others = [number for number in beaten[front].tolist() if number not in out] or beaten[front].tolist()
    best = candidates[min(others, key=lambda number: candidates[number].costs[front].value)]
    own, unit = candidates[index], candidates[index].units.get(front, "")
    return (
        f"{best.name} is at least as accurate ({best.val_accuracy:.1%} against {own.val_accuracy:.1%}) and cheaper "
        f"(~{significant(best.costs[front].value)} against ~{significant(own.costs[front].value)}{unit})"
    )


def brief_span(timing: Timing, fractions: Sequence[float], objective: str, sampled: int | None) -> Span:
    """What a stream at an operating point will cost, by the brief timing of its file: `fractions` (exits,) of all
    validation images leave at each exit, of which `sampled` are streamed (None: all of them).

    The ends hold the difference of the processes, `NOISE` at least, and, where a part is streamed, two standard errors
    of its mix of exits.
    """
    shares = np.asarray(fractions, float)
    value = float(expected_cost(shares, timing.per_exit, objective))
    found = [float(expected_cost(shares, process, objective)) for process in timing.process_exits]
    noise = max(NOISE, (max(found) - min(found)) / 2 / float(np.median(found)) if found else 0.0)
    low, high = _mixes(shares, timing.per_exit, objective, sampled)
    return Span(low * (1 - noise), value, high * (1 + noise))


def _mixes(shares: np.ndarray, per_exit: Sequence[float], objective: str, sampled: int | None) -> tuple[float, float]:
    """The least and the most that a sample of the images may expect."""
    if objective in QUANTILES:
        share = QUANTILES[objective]
        off = 0.0 if sampled is None else 2 * float(np.sqrt(share * (1 - share) / sampled))
        each = np.asarray(per_exit, float)
        order = each.argsort()
        reached, costs = np.cumsum(shares[order]), each[order]
        ends = [costs[int((reached >= min(end, 1.0) - 1e-9).argmax())] for end in (share - off, share + off)]
        return float(ends[0]), float(ends[1])
    mean = float(expected_cost(shares, per_exit))
    if sampled is None:
        return mean, mean
    spread = max(0.0, float(expected_cost(shares, [cost**2 for cost in per_exit])) - mean**2)
    error = 2 * float(np.sqrt(spread / sampled))
    return mean - error, mean + error
