"""Kendall's tau against counting pairs, its interval, and what a run's report says of it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from erde_nas.rank_correlation import rank_correlation
from erde_nas.report.facts import run_facts
from erde_nas.report_data.point import Point
from erde_nas.results.build_report import searched_and_finished
from erde_nas.space.trial import Trial
from tests.report.conftest import model
from tests.space.builders import findings, judged


def counted(first: list[float], second: list[float]) -> float:
    """tau-b by its definition: pairs in the same order minus pairs in the other, over those without a tie."""
    pairs = list(itertools.combinations(zip(first, second, strict=True), 2))
    signs = [(np.sign(a[0] - b[0]), np.sign(a[1] - b[1])) for a, b in pairs]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    return float(sum(x * y for x, y in signs) / np.sqrt(untied[0] * untied[1]))


def test_tau_is_that_of_counted_pairs() -> None:
    generator = np.random.default_rng(0)
    for n in (3, 8, 25, 120):
        first, second = generator.integers(0, 9, (2, n)).astype(float).tolist()
        found = rank_correlation(first, second)
        assert found is not None
        assert found.tau == pytest.approx(counted(first, second))
        assert found.low - 1e-9 <= found.tau <= found.high + 1e-9
        assert found.n == n


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Normal pairs of correlation r have tau 2/π · asin(r): about 95 of 100 intervals must hold it."""
    generator, covered = np.random.default_rng(1), 0
    for _ in range(100):
        x, noise = generator.standard_normal((2, 30))
        found = rank_correlation(x, 0.8 * x + 0.6 * noise)
        assert found is not None
        covered += found.low <= 2 / np.pi * np.arcsin(0.8) <= found.high
    assert 85 <= covered <= 100


def test_what_has_no_order_has_no_tau() -> None:
    assert rank_correlation([], []) is None
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2, float("nan"), 4], [1, 2, 3, float("inf")]) is None
    same = rank_correlation([1, 2, 3, float("nan")], [2, 4, 6, 1])
    assert same is not None
    assert (same.tau, same.n) == (1.0, 3)


def trial(student: str, curve: list[float]) -> Trial:
    return Trial(0, student, {}, "complete", (0.1, 1.0), findings=findings(judged(curve)))


def point(student: str, accuracy: float, stage: str = "finished") -> Point:
    nothing = dict.fromkeys(("arch", "test_accuracy", "test_accuracy_ci95", "macs", "macs_per_exit", "params"))
    nothing |= {"size_bytes": None, "file": None}
    return Point(
        student=student, stage=stage, thresholds=(), exit_fractions=(), val_accuracy=accuracy, latency_ms={}, **nothing
    )  # fmt: skip


def test_a_run_compares_what_was_searched_with_what_was_finished() -> None:
    trials = [trial("a", [0.5, 0.6]), trial("b", [0.7, 0.4]), trial("c", [0.8]), trial("d", [0.9])]
    points = [point("a", 0.7), point("b", 0.8), point("b", 0.6), point("c", 0.75), point("d", 0.99, "quantized")]
    found = searched_and_finished("supernet", trials, points)
    assert found is not None
    assert found.n == 3
    assert found.tau == pytest.approx(1 / 3), "of three pairs one is in the other order"
    facts = dict(run_facts(replace(model({}), rank_correlation=found)))
    assert "Kendall's tau 0.33" in facts["Rank correlation"]
    assert "as slices of the supernet" in facts["Rank correlation"]
    assert "over 3 students: so few, all of them chosen for being good, say little" in facts["Rank correlation"]
    assert searched_and_finished("train", trials, points[:3]) is None
    assert "Rank correlation" not in dict(run_facts(model({})))
