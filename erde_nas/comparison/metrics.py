"""What tells losses apart: accuracy per exit and per budget, calibration, and whether entropy predicts mistakes.

Logits are (exits, images, classes), labels (images,). Thresholds are chosen on validation, everything else is read from
test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from erde_nas.comparison.store import TrainedStudent
from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.networks.operating_points import entropies, exit_indices, operating_curve, scores

ECE_BINS = 15
CURVE_BUDGETS = 101
FIXED_BUDGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # shares of the MACs of the whole network


@dataclass(frozen=True)
class Curve:
    """Budgets in MACs, evenly spaced from the first exit's to the last one's, and what they give on test."""

    budgets: np.ndarray
    macs: np.ndarray  # spent on test, in the mean
    accuracy: np.ndarray

    @property
    def area(self) -> float:
        """Mean accuracy over the budgets: the area under the curve, divided by its width."""
        return (
            float(self.accuracy.mean())
            if len(self.budgets) == 1
            else float(np.trapezoid(self.accuracy, self.budgets) / np.ptp(self.budgets))
        )


def budget_curve(
    run: TrainedStudent,
    validation_labels: np.ndarray,
    test_labels: np.ndarray,
    budgets: np.ndarray,
    rule: ExitRule = ENTROPY,
) -> Curve:
    """For each budget the thresholds with the best validation accuracy that keep it there, applied to test.

    Budgets below the first exit's MACs get that exit for all images.
    """
    costs, validation = np.array(run.macs_per_exit, float), run.validation.astype(np.float32)
    points = operating_curve(validation, validation_labels, run.macs_per_exit, rule)  # by rising cost and accuracy
    score = scores(rule.fitted(validation, validation_labels), run.test)
    correct = run.test.argmax(-1) == test_labels
    spent, accuracy = [], []
    for point in points:
        taken = exit_indices(score, point.thresholds)
        spent.append(costs[taken].mean())
        accuracy.append(correct[taken, np.arange(len(taken))].mean())
    limits = np.array([point.cost for point in points])
    chosen = np.maximum(np.searchsorted(limits, budgets * (1 + 1e-9), side="right") - 1, 0)
    return Curve(budgets, np.array(spent)[chosen], np.array(accuracy)[chosen])


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """ECE, 15 equal bins of confidence (Guo et al., ICML 2017, eq. 3): logits (images, classes), labels (images,)."""
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    confidence, correct = probabilities.max(-1), logits.argmax(-1) == labels
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, confidence - correct, ECE_BINS)  # per bin: number of images · (confidence - accuracy)
    return float(np.abs(gaps).sum() / len(labels))


def failure_auroc(logits: np.ndarray, labels: np.ndarray) -> float:
    """How well entropy tells mistakes from right answers: area under the ROC curve, NaN where all or none are right."""
    wrong = logits.argmax(-1) != labels
    return float(roc_auc_score(wrong, entropies(logits))) if wrong.any() and not wrong.all() else float("nan")


def measures(
    run: TrainedStudent, validation_labels: np.ndarray, test_labels: np.ndarray, rule: ExitRule = ENTROPY
) -> dict[str, float]:
    """Every number by name, such as `accuracy.1` (exits count from 1), `area`, `budget.0.75` and `macs.0.75`."""
    exits, full = len(run.macs_per_exit), run.macs_per_exit[-1]
    budgets = curve_budgets(run.macs_per_exit)
    values = {"area": budget_curve(run, validation_labels, test_labels, budgets, rule).area}
    shares = [share for share in FIXED_BUDGETS if share * full >= run.macs_per_exit[0]]
    fixed = budget_curve(run, validation_labels, test_labels, np.array(shares) * full, rule)
    for share, macs, accuracy in zip(shares, fixed.macs, fixed.accuracy, strict=True):
        values |= {f"budget.{share}": float(accuracy), f"macs.{share}": float(macs)}
    for number in range(exits):
        logits = run.test[number]
        values[f"accuracy.{number + 1}"] = float((logits.argmax(-1) == test_labels).mean())
        values[f"ece.{number + 1}"] = expected_calibration_error(logits, test_labels)
        values[f"auroc.{number + 1}"] = failure_auroc(logits, test_labels)
    return values


def curve_budgets(macs_per_exit: Sequence[int]) -> np.ndarray:
    """The budgets at which curves are compared; one budget for a network with one exit."""
    if len(macs_per_exit) == 1:
        return np.array([float(macs_per_exit[0])])
    return np.linspace(macs_per_exit[0], macs_per_exit[-1], CURVE_BUDGETS)
