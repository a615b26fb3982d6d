"""The exit rule that each student learns: how likely going on is to mend the answer, from the logits so far.

Early-exit failure prediction (arXiv 2508.21495) as one logistic regression per exit. Its features are the logarithms of
the largest probabilities, the entropy, and how far the exit before agrees. Needs numpy alone, but for `fit`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from erde_nas.device.exit_rules import ExitRule, Fitting

LARGEST = 3  # probabilities that are looked at
PULL = 1.0  # of a coefficient towards 0, where its feature has a standard deviation of 1: log-likelihood per square / 2
FREE = 0.01  # times as much is the pull on the margin's: with few images the rule orders them as the margin does


@dataclass(frozen=True)
class ExitWeights:
    """What log(score / (1 - score)) at an exit is made of: weights of the largest log-probabilities in falling order,
    of the entropy, and of Σ p q, where p is this exit's softmax and q that of the exit before; at exit 0 that is none.
    """

    bias: float
    entropy: float
    agreement: float
    largest: tuple[float, ...]


NOBODYS = ExitWeights(0.0, 0.0, 0.0, (-1.0, 1.0))  # the second's share of the two likeliest


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in the precision of `logits`."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def features(so_far: Sequence[np.ndarray], largest: int = LARGEST) -> np.ndarray:
    """Logits of the exits so far, each (n, classes) -> (n, 2 + largest): entropy, agreement, largest log p."""
    log_p = log_softmax(so_far[-1])
    p, sorted_ = np.exp(log_p), np.sort(log_p, -1)[:, ::-1]
    agreement = (p * np.exp(log_softmax(so_far[-2]))).sum(-1) if len(so_far) > 1 else np.zeros_like(p[:, 0])
    return np.column_stack([-(p * log_p).sum(-1), agreement, sorted_[:, :largest]])


def _at(weights: Sequence[ExitWeights], number: int) -> ExitWeights:
    return weights[number] if number < len(weights) else NOBODYS


def _score(weights: Sequence[ExitWeights], so_far: Sequence[np.ndarray]) -> np.ndarray:
    at = _at(weights, len(so_far) - 1)
    found = features(so_far, len(at.largest))
    odds = found @ np.array([at.entropy, at.agreement, *at.largest], found.dtype) + found.dtype.type(at.bias)
    return np.exp(-np.logaddexp(0, -odds))


def _graph(weights: Sequence[ExitWeights], single: bool, number: int) -> str:
    at = _at(weights, number)
    shape = "float[1, c]" if single else "float[n, c]"
    before = f"{shape} logits{number - 1}, " if number else ""
    column = ", ".join(f"{value:.9f}" for value in at.largest)
    body = ["log_p = LogSoftmax <axis = -1> (logits)", "p = Exp (log_p)"]
    body += ["top, index = TopK <axis = -1> (log_p, count)", "of_top = Gemm (top, weights, bias)"]
    body += _product("with_entropy", "p", "log_p", "of_top", -at.entropy, single)
    if number:
        body.append(f"before = Softmax <axis = -1> (logits{number - 1})")
        body += _product("with_agreement", "p", "before", "with_entropy", at.agreement, single)
    body.append(f"score = Sigmoid ({'with_agreement' if number else 'with_entropy'})")
    return f"""learned ({before}{shape} logits) => (float[n, 1] score)
    <int64[1] count = {{{len(at.largest)}}}, float[{len(at.largest)}, 1] weights = {{{column}}},
    float[1] bias = {{{at.bias:.9f}}}, int64[1] last = {{-1}}> {{ {" ".join(body)} }}"""


def _product(name: str, a: str, b: str, added: str, factor: float, single: bool) -> list[str]:
    """Nodes for added + factor · Σ a b over the classes; for one image alone that is one."""
    if single:
        return [f"{name} = Gemm <alpha = {factor:.9f}, transB = 1> ({a}, {b}, {added})"]
    return [
        f"{name}_products = Mul ({a}, {b})",
        f"{name}_sum = ReduceSum <keepdims = 1> ({name}_products, last)",
        f"{name}_factor = Constant <value_float = {factor:.9f}> ()",
        f"{name}_part = Mul ({name}_sum, {name}_factor)",
        f"{name} = Add ({added}, {name}_part)",
    ]


def _fit(logits: np.ndarray, labels: np.ndarray) -> str:
    """Logits (exits, n, classes), labels (n,) -> the weights of every exit but the last, as JSON."""
    right = logits.argmax(-1) == labels
    fitted = [_fit_exit(logits[: i + 1], ~right[i] & right[-1]) for i in range(len(logits) - 1)]
    rows = [[weights.bias, weights.entropy, weights.agreement, *weights.largest] for weights in fitted]
    return json.dumps(rows, separators=(",", ":"))


def _fit_exit(so_far: np.ndarray, mended: np.ndarray) -> ExitWeights:
    """Logits (exits so far, n, classes), and which images (n,) going on would mend."""
    from sklearn.linear_model import LogisticRegression  # not on devices

    if mended.all() or not mended.any():
        return NOBODYS
    largest = min(LARGEST, so_far.shape[-1])
    entropy, agreement, first, second, *rest = features(list(so_far), largest).T
    columns = np.column_stack([second - first, entropy, agreement, first, *rest])
    scale = columns.std(0)
    scale[scale < 1e-9] = np.inf  # it says nothing
    scale[0] *= np.sqrt(FREE)
    model = LogisticRegression(C=1 / PULL, solver="newton-cholesky", max_iter=1000)
    model.fit(columns / scale, mended)
    margin, of_entropy, of_agreement, of_first, *others = (float(w) for w in model.coef_[0] / scale)
    return _weights([float(model.intercept_[0]), of_entropy, of_agreement, of_first - margin, margin, *others])


def _weights(row: Sequence[float]) -> ExitWeights:
    """From what a file keeps of an exit, to six digits."""
    bias, entropy, agreement, *largest = (float(f"{value:.6g}") for value in row)
    return ExitWeights(bias, entropy, agreement, tuple(largest))


def _learned(weights: Sequence[ExitWeights]) -> ExitRule:
    return ExitRule(
        name="learned",
        text="probability that going on mends its answer",
        score=partial(_score, weights),
        graph=partial(_graph, weights, False),
        single=partial(_graph, weights, True),
        fitting=Fitting(_fit, _read),
    )


def _read(parameters: str) -> ExitRule:
    """The rule with the weights that `_fit` wrote."""
    try:
        return _learned([_weights(row) for row in json.loads(parameters)])
    except (TypeError, ValueError) as error:
        raise ValueError("they are no list of weights for each exit") from error


LEARNED = _learned(())
