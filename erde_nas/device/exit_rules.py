"""When an image leaves at an exit: the rules. Needs numpy alone, because it also runs on devices.

A rule says the same thing twice: in numpy, for batches and for choosing thresholds, and as an ONNX graph, for files
that decide by themselves. To add one, write it here and name it in `erde_nas/registry.py`; another package brings one
under the entry point `erde_nas.exit_rules` (docs/exit_rules.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from erde_nas.errors import UserError
from erde_nas.registry import EXIT_RULES

Score = Callable[[Sequence[np.ndarray]], np.ndarray]
"""The logits of the exits so far, each (n, classes), this exit's last -> scores (n,), in the logits' precision."""

Graph = str | Callable[[int], str]
"""A graph in the text form of ONNX, or one for each exit, by its number."""


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
    graph: Graph
    single: Graph = ""  # the same for one image alone, where that takes fewer nodes
    unit: str = ""  # of the score; empty: it has none
    resolution: float = 0.0  # scores that differ by less are equal: what rounding makes of 1 - p, where p is close to 1
    fitting: "Fitting | None" = None  # how it gets parameters of each student's own; until then it has those of nobody
    parameters: str = ""  # those that it has got

    @property
    def record(self) -> str:
        """What a file says of its rule, as `exit_rule` reads it: the name, and behind a space the parameters."""
        return f"{self.name} {self.parameters}".rstrip()

    def graph_at(self, number: int, single: bool = False) -> str:
        """The graph at exit `number`, for one image alone where that is wanted and there is one."""
        graph = self.single if single and self.single else self.graph
        return graph if isinstance(graph, str) else graph(number)

    def fitted(self, logits: np.ndarray, labels: np.ndarray) -> "ExitRule":
        """The rule with parameters for a student that answers like this: logits (exits, n, classes), labels (n,), of
        images that it was not trained on. Itself where there is nothing to fit, or that is done."""
        if self.fitting is None or self.parameters:
            return self
        return self.with_parameters(self.fitting.fit(logits.astype(np.float64), labels))

    def with_parameters(self, parameters: str) -> "ExitRule":
        """The rule with what `fit` wrote. Raises ValueError for anything else."""
        if self.fitting is None:
            raise ValueError("it takes none")
        return replace(self.fitting.rule(parameters), parameters=parameters)


@dataclass(frozen=True)
class Fitting:
    """How a rule gets parameters for a student. They are one line of text, which the student's file keeps.

    `fit` never runs on a device, so it may import more than numpy, inside itself. It has to do with few images, and
    with ones that every exit is right on.
    """

    fit: Callable[[np.ndarray, np.ndarray], str]  # logits (exits, n, classes) float64, labels (n,) -> parameters
    rule: Callable[[str], ExitRule]  # the rule with these parameters; raises ValueError for what `fit` did not write


def exit_rule(record: str) -> ExitRule:
    """The rule of that name, with the parameters behind it where a file says some.

    Raises UserError where there is none, a plug-in's calls itself otherwise, or the parameters are not the rule's.
    """
    name, _, parameters = record.partition(" ")
    rule = EXIT_RULES[name]
    if not isinstance(rule, ExitRule) or rule.name != name:
        raise UserError(f"the exit rule '{name}' must be an ExitRule of that name, but its plug-in brings {rule!r}")
    if not parameters:
        return rule
    try:
        return rule.with_parameters(parameters)
    except ValueError as error:
        raise UserError(
            f"the exit rule '{name}' cannot have the parameters {parameters!r}: {error}; export the student again"
        ) from error


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
