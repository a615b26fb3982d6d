"""When an image leaves at an exit: the rules. Needs numpy alone, because it also runs on devices.

A rule says the same thing twice: in numpy, for batches and for choosing thresholds, and as an ONNX graph, for files
that decide by themselves. To add one, write it here and name it in `erde_nas/registry.py`; another package brings one
under the entry point `erde_nas.exit_rules` (docs/exit_rules.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from erde_nas.errors import UserError
from erde_nas.registry import EXIT_RULES

Score = Callable[[Sequence[np.ndarray]], np.ndarray]
"""The logits of the exits so far, each (n, classes), this exit's last -> scores (n,), in the logits' precision."""


@dataclass(frozen=True)
class ExitRule:
    """An image leaves at the first exit whose score is below that exit's threshold; the last exit answers always.

    A score is small where the exit is sure, finite, and never negative: a threshold of -1 keeps every image, one of
    infinity lets every image go. `graph` computes it in the text form of ONNX, opset 18: from `logits`, those of this
    exit, and where it wants them `logits0`, `logits1`, ..., those of the exits before; one output, a value per image.
    """

    name: str
    text: str  # what the score is, to stand behind "the"
    score: Score
    graph: str
    single: str = ""  # the same for one image alone, where that takes fewer nodes
    unit: str = ""  # of the score; empty: it has none
    resolution: float = 0.0  # scores that differ by less are equal: what rounding makes of 1 - p, where p is close to 1


def exit_rule(name: str) -> ExitRule:
    """The rule of that name. Raises UserError where there is none, or a plug-in's calls itself otherwise."""
    rule = EXIT_RULES[name]
    if not isinstance(rule, ExitRule) or rule.name != name:
        raise UserError(f"the exit rule '{name}' must be an ExitRule of that name, but its plug-in brings {rule!r}")
    return rule


def entropy(logits: np.ndarray) -> np.ndarray:
    """Entropy in nats of softmax over the last axis: (..., classes) -> (...), in the precision of `logits`."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -(np.exp(log_p) * log_p).sum(-1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _doubt(so_far: Sequence[np.ndarray]) -> np.ndarray:
    return 1 - _softmax(so_far[-1]).max(-1)


def _closeness(so_far: Sequence[np.ndarray]) -> np.ndarray:
    second, first = np.moveaxis(np.partition(_softmax(so_far[-1]), -2, axis=-1)[..., -2:], -1, 0)
    return 1 - (first - second)


ENTROPY = ExitRule(
    name="entropy",
    text="entropy of its answer",
    unit="nats",
    score=lambda so_far: entropy(so_far[-1]),
    graph="""entropy (float[n, c] logits) => (float[n] entropy) <int64[1] last = {-1}> {
        log_p = LogSoftmax <axis = -1> (logits)
        p = Exp (log_p)
        product = Mul (p, log_p)
        sum = ReduceSum <keepdims = 0> (product, last)
        entropy = Neg (sum)
    }""",
    # In few nodes, since each costs a small student a share of its time: -p · (log p)^T is the entropy.
    single="""entropy (float[1, c] logits) => (float[1, 1] entropy) {
        log_p = LogSoftmax <axis = -1> (logits)
        p = Exp (log_p)
        entropy = Gemm <alpha = -1.0, transB = 1> (p, log_p)
    }""",
)
MAX_PROB = ExitRule(
    name="max-prob",
    text="probability of all classes but the likeliest",
    score=_doubt,
    graph="""max_prob (float[n, c] logits) => (float[n] score) <float one = {1.0}, int64[1] last = {-1}> {
        p = Softmax <axis = -1> (logits)
        most = ReduceMax <keepdims = 0> (p, last)
        score = Sub (one, most)
    }""",
    resolution=1e-6,
)
MARGIN = ExitRule(
    name="margin",
    text="1 minus the difference of the two largest probabilities",
    score=_closeness,
    graph="""margin (float[n, c] logits) => (float[n, 1] score)
    <int64[1] two = {2}, float[2, 1] weights = {-1.0, 1.0}, float[1] one = {1.0}> {
        p = Softmax <axis = -1> (logits)
        top, index = TopK <axis = -1> (p, two)
        score = Gemm (top, weights, one)
    }""",
    resolution=1e-6,
)
