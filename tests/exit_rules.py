"""Exit rules that tests of several modules use: one as another package would bring it, and a fitted one."""

import numpy as np

from erde_nas.device.exit_rules import ExitRule
from erde_nas.device.learned_rule import LEARNED


def _softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _score(so_far):
    return 1 - ((_softmax(so_far[0]) + _softmax(so_far[-1])) / 2).max(-1)


# It sees the first exit's logits again at every later one: small where both agree and are sure.
SO_FAR = ExitRule(
    name="so-far",
    text="probability of all classes but the likeliest, in the mean of the first exit and this one",
    score=_score,
    graph="""so_far (float[n, c] logits0, float[n, c] logits) => (float[n] score)
    <float one = {1.0}, float half = {0.5}, int64[1] last = {-1}> {
        first = Softmax <axis = -1> (logits0)
        here = Softmax <axis = -1> (logits)
        sum = Add (first, here)
        mean = Mul (sum, half)
        most = ReduceMax <keepdims = 0> (mean, last)
        score = Sub (one, most)
    }""",
    resolution=1e-6,
)


# Of three exits; at the second, images of a small lead are spoiled more often than mended, so that they leave.
FITTED = LEARNED.with_parameters("[[0.3,-0.8,-2.5,-0.4],[-0.6,-0.5,0.2,-1.6]]")
