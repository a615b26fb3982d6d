"""An exit rule: an image leaves where the Gini impurity of the softmax, 1 - Σ p², is below the exit's threshold.

It also runs on devices, so that it needs numpy alone.
"""

from collections.abc import Sequence

import numpy as np

from erde_nas.device.exit_rules import ExitRule


def impurity(so_far: Sequence[np.ndarray]) -> np.ndarray:
    """The logits of the exits so far, each (n, classes) -> scores (n,) of the last of them, from 0 to below 1."""
    powers = np.exp(so_far[-1] - so_far[-1].max(-1, keepdims=True))
    return 1 - np.square(powers / powers.sum(-1, keepdims=True)).sum(-1)


GINI = ExitRule(
    name="gini",
    text="Gini impurity of its answer",
    score=impurity,
    graph="""gini (float[n, c] logits) => (float[n] score) <float one = {1.0}, int64[1] last = {-1}> {
        p = Softmax <axis = -1> (logits)
        squares = Mul (p, p)
        sum = ReduceSum <keepdims = 0> (squares, last)
        score = Sub (one, sum)
    }""",
    resolution=1e-6,
)
