"""Calibration, failure prediction and budget curves against slow loops, closed forms and brute force."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import mannwhitneyu

from erde_nas.comparison.metrics import (
    budget_curve,
    curve_budgets,
    expected_calibration_error,
    failure_auroc,
    measures,
)
from erde_nas.comparison.store import TrainedStudent
from erde_nas.networks.operating_points import entropies

Labels = tuple[np.ndarray, np.ndarray]


def test_ece_against_a_loop_over_bins() -> None:
    generator = np.random.default_rng(1)
    logits, labels = 2 * generator.normal(size=(500, 5)), generator.integers(0, 5, 500)
    confidence, right = softmax(logits, -1).max(-1), logits.argmax(-1) == labels
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(logits, labels) == pytest.approx(expected, abs=1e-12)


def test_ece_of_one_sure_answer_is_the_error_rate() -> None:
    logits = np.zeros((10, 3))
    logits[:, 0] = 200.0
    labels = np.array([0] * 7 + [1] * 3)
    assert expected_calibration_error(logits, labels) == pytest.approx(0.3)


def test_ece_of_a_uniform_answer_is_its_distance_from_chance() -> None:
    assert expected_calibration_error(np.zeros((8, 4)), np.array([0] * 2 + [1] * 6)) == pytest.approx(0.0)
    assert expected_calibration_error(np.zeros((8, 4)), np.zeros(8, int)) == pytest.approx(0.75)


def test_auroc_is_the_chance_that_a_mistake_has_the_higher_entropy() -> None:
    generator = np.random.default_rng(2)
    logits, labels = generator.normal(size=(200, 3)) * 2, generator.integers(0, 3, 200)
    wrong = logits.argmax(-1) != labels
    entropy = entropies(logits)
    expected = mannwhitneyu(entropy[wrong], entropy[~wrong]).statistic / (wrong.sum() * (~wrong).sum())
    assert failure_auroc(logits, labels) == pytest.approx(expected)


def test_auroc_needs_mistakes_and_right_answers() -> None:
    logits = np.eye(3)
    assert np.isnan(failure_auroc(logits, np.array([0, 1, 2])))
    assert np.isnan(failure_auroc(logits, np.array([1, 2, 0])))


def test_a_budget_curve_takes_the_best_validation_thresholds_within_the_budget(
    make_trained: Callable[..., TrainedStudent], labels: Labels
) -> None:
    """Brute force over every pair of thresholds that tells the validation images apart."""
    run = make_trained(exits=2)
    budgets = np.array([100.0, 130.0, 170.0, 200.0])
    curve = budget_curve(run, *labels, budgets)
    seen = np.sort(entropies(run.validation[0]))
    entropy = entropies(run.test[0])
    for budget, macs, accuracy in zip(budgets, curve.macs, curve.accuracy, strict=True):
        best = max(
            (_accuracy(run.validation, labels[0], leaves), -len(leaves), leaves)[0]
            for leaves in _choices(run.validation[0], seen)
            if 200 - 100 * leaves.mean() <= budget + 1e-9
        )
        reached = [
            (_accuracy(run.test, labels[1], entropy < threshold), 200 - 100 * (entropy < threshold).mean())
            for threshold in [0.0, *((seen[1:] + seen[:-1]) / 2), seen[-1] + 1e-3]
            if _accuracy(run.validation, labels[0], entropies(run.validation[0]) < threshold) == pytest.approx(best)
            and 200 - 100 * (entropies(run.validation[0]) < threshold).mean() <= budget + 1e-9
        ]
        assert any(accuracy == pytest.approx(a) and macs == pytest.approx(m) for a, m in reached)


def _choices(logits: np.ndarray, seen: np.ndarray) -> list[np.ndarray]:
    return [entropies(logits) < threshold for threshold in [0.0, *((seen[1:] + seen[:-1]) / 2), seen[-1] + 1e-3]]


def _accuracy(logits: np.ndarray, truth: np.ndarray, leaves: np.ndarray) -> float:
    return float(np.where(leaves, logits[0].argmax(-1) == truth, logits[1].argmax(-1) == truth).mean())


def test_the_area_is_the_mean_accuracy_over_the_budgets(
    make_trained: Callable[..., TrainedStudent], labels: Labels
) -> None:
    run = make_trained()
    curve = budget_curve(run, *labels, curve_budgets(run.macs_per_exit))
    widths = np.diff(curve.budgets)
    by_hand = sum(w * (a + b) / 2 for w, (a, b) in zip(widths, itertools.pairwise(curve.accuracy), strict=True))
    assert curve.area == pytest.approx(by_hand / widths.sum())
    assert curve.accuracy.min() <= curve.area <= curve.accuracy.max()


def test_one_exit_has_one_budget_and_its_accuracy_is_the_area(
    make_trained: Callable[..., TrainedStudent], labels: Labels
) -> None:
    run = make_trained(exits=1)
    found = measures(run, *labels)
    accuracy = (run.test[0].argmax(-1) == labels[1]).mean()
    assert found["area"] == found["accuracy.1"] == found["budget.1.0"] == pytest.approx(accuracy)
    assert found["macs.1.0"] == 100


def test_measures_name_every_exit_and_the_budgets_that_can_be_kept(
    make_trained: Callable[..., TrainedStudent], labels: Labels
) -> None:
    found = measures(make_trained(), *labels)
    exits = {f"{kind}.{i}" for kind in ("accuracy", "ece", "auroc") for i in (1, 2, 3)}
    budgets = {f"{kind}.{share}" for kind in ("budget", "macs") for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)}
    assert set(found) == {"area"} | exits | budgets
    assert "budget.0.5" not in measures(make_trained(exits=1), *labels)
