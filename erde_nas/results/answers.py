"""The logits of the test images at an operating point -> what became of them: where they left, and whether right."""

import numpy as np
from scipy.special import softmax

from erde_nas.report_data.evidence import Bin, Example, TestAnswers

LISTED = 100  # classes whose right answers are counted one by one
CONFUSED = 20  # classes of which the whole confusion is kept
BINS = 10
SHOWN = 6  # right, and as many wrong, examples of each exit


def answers_on_test(logits: np.ndarray, labels: np.ndarray, taken: np.ndarray) -> TestAnswers:
    """Logits (exits, n, classes), labels (n,), the exit (n,) at which each image leaves."""
    exits, count, classes = logits.shape
    own = logits[taken, np.arange(count)].astype(np.float64)  # (n, classes)
    answered, confidence = own.argmax(-1), softmax(own, axis=-1).max(-1)
    right = answered == labels
    confusion = np.zeros((classes, classes), int) if classes <= CONFUSED else np.zeros((0, 0), int)
    if classes <= CONFUSED:
        np.add.at(confusion, (labels, answered), 1)
    return TestAnswers(
        left=_counts(taken, exits),
        right=_counts(taken[right], exits),
        class_right=_counts(labels[right], classes) if classes <= LISTED else (),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        examples=tuple(_examples(labels, answered, taken == exit_) for exit_ in range(exits)),
        calibration=tuple(_bins(confidence[taken == exit_], right[taken == exit_]) for exit_ in range(exits)),
    )


def _counts(values: np.ndarray, length: int) -> tuple[int, ...]:
    return tuple(np.bincount(values, minlength=length).tolist())


def _examples(labels: np.ndarray, answered: np.ndarray, here: np.ndarray) -> tuple[Example, ...]:
    """The first images `here` that are answered rightly, then the first that are not."""
    right = answered == labels
    chosen = [int(i) for kind in (right, ~right) for i in np.flatnonzero(here & kind)[:SHOWN]]
    return tuple((i, int(labels[i]), int(answered[i])) for i in chosen)


def _bins(confidence: np.ndarray, right: np.ndarray) -> tuple[Bin, ...]:
    """Images by their confidence, in bins a tenth wide of which the last one holds 1 as well."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        (int(here.sum()), round(float(confidence[here].mean()), 4), int(right[here].sum()))
        for here in (place == number for number in range(BINS))
        if here.any()
    )
