"""The exit rule that each student learns: what going on is expected to gain.

For every exit but the last, two logistic regressions on the lead of its largest logit over the second: how likely the
last exit mends a wrong answer of this one, and how likely it spoils a right one (early-exit failure prediction, arXiv
2508.21495, of which an exit's own mistakes are only half: what no exit gets right, or a later one gets wrong, is no
reason to go on). Entropy, largest probability, further logits and agreement with the exit before were tried as well and
added nothing: docs/exit_rules.md. Needs numpy alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from erde_nas.device.exit_rules import ExitRule, Fitting

Line = tuple[float, float]
"""log(p / (1 - p)) of a chance p: at a lead of 0, and per unit of the lead."""

STEPS, ENOUGH = 100, 1e-9  # of Newton's method


@dataclass(frozen=True)
class Chances:
    """That going on from an exit mends its answer, and that it spoils it."""

    mends: Line
    spoils: Line


@dataclass(frozen=True)
class Prior:
    """Independent normal distributions of a line's two numbers, per standard deviation of the lead: what counts where
    there are few images. Means are near what CIFAR's networks have; with thousands of images they change nothing."""

    mean: Line
    deviation: Line


MENDS = Prior((-0.5, -2.0), (2.0, 0.5))
SPOILS = Prior((-3.0, -2.0), (0.5, 0.5))
NOBODYS = Chances((0.0, -1.0), (-50.0, 0.0))  # the second's share of the two likeliest, and never


def lead(logits: np.ndarray) -> np.ndarray:
    """(n, classes) -> (n,), how far the largest lies above the second."""
    second, first = np.moveaxis(np.partition(logits, -2, axis=-1)[..., -2:], -1, 0)
    return first - second


def _chance(line: Line, ahead: np.ndarray) -> np.ndarray:
    at_zero, slope = (ahead.dtype.type(value) for value in line)
    return np.exp(-np.logaddexp(0, -(at_zero + slope * ahead)))


def _at(exits: Sequence[Chances], number: int) -> Chances:
    return exits[number] if number < len(exits) else NOBODYS


def _score(exits: Sequence[Chances], so_far: Sequence[np.ndarray]) -> np.ndarray:
    at, ahead = _at(exits, len(so_far) - 1), lead(so_far[-1])
    return np.maximum(_chance(at.mends, ahead) - _chance(at.spoils, ahead), 0)


def _graph(exits: Sequence[Chances], number: int) -> str:
    at = _at(exits, number)
    rows = [[*at.mends], [*at.spoils]]
    zero, slope = (", ".join(f"{row[i]:.9f}" for row in rows) for i in (0, 1))
    minus = ", ".join(f"{-row[1]:.9f}" for row in rows)
    return f"""learned (float[n, c] logits) => (float[n, 1] gain)
    <int64[1] two = {{2}}, float[2, 2] slopes = {{{slope}, {minus}}}, float[2] at_zero = {{{zero}}},
    float[2, 1] signs = {{1.0, -1.0}}> {{
        top, index = TopK <axis = -1> (logits, two)
        odds = Gemm (top, slopes, at_zero)
        chances = Sigmoid (odds)
        difference = MatMul (chances, signs)
        gain = Relu (difference)
    }}"""


def _fit(logits: np.ndarray, labels: np.ndarray) -> str:
    """Logits (exits, n, classes), labels (n,) -> the chances at every exit but the last, as JSON."""
    right = logits.argmax(-1) == labels
    rows = []
    for answers, here in zip(logits[:-1], right[:-1], strict=True):
        ahead = lead(answers)
        rows.append([*most_likely(ahead, ~here & right[-1], MENDS), *most_likely(ahead, here & ~right[-1], SPOILS)])
    return json.dumps([[float(f"{value:.6g}") for value in row] for row in rows], separators=(",", ":"))


def most_likely(ahead: np.ndarray, happened: np.ndarray, prior: Prior) -> Line:
    """The line of largest posterior density, of leads (n,) and what happened (n,), by Newton's method."""
    scale = float(ahead.std()) if len(ahead) else 0.0
    x = np.column_stack([np.ones(len(ahead)), ahead / (scale or 1.0)])
    mean, precision = np.array(prior.mean), np.diag(1 / np.square(prior.deviation))
    line = mean.copy()
    for _ in range(STEPS):
        chance = np.exp(-np.logaddexp(0, -x @ line))
        uphill = x.T @ (happened - chance) - precision @ (line - mean)
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x + precision
        step = np.linalg.solve(curvature, uphill)
        line += step / max(1.0, np.abs(step).max())  # at most 1, where a full step could overshoot
        if np.abs(step).max() < ENOUGH:
            break
    return float(line[0]), float(line[1] / (scale or 1.0))


def _read(parameters: str) -> ExitRule:
    """The rule with the chances that `_fit` wrote."""
    try:
        rows = [[float(value) for value in row] for row in json.loads(parameters)]
        return _learned([Chances((a, b), (c, d)) for a, b, c, d in rows])
    except (TypeError, ValueError) as error:
        raise ValueError("they are not four numbers for each exit") from error


def _learned(exits: Sequence[Chances]) -> ExitRule:
    return ExitRule(
        name="learned",
        text="share of right answers that going on is expected to gain",
        score=partial(_score, exits),
        graph=partial(_graph, exits),
        fitting=Fitting(_fit, _read),
        resolution=1e-6,
    )


LEARNED = _learned(())
