"""What a brief measurement rules out: nothing that a thorough one, within what is known of the costs, would offer."""

import numpy as np
import pytest

from erde_nas.measurement.statistics import Timing
from erde_nas.results.screening import NOISE, Candidate, Span, brief_span, screen


def candidate(name, accuracy, kept=False, firm=None, **costs):
    """Costs by front: a number, exact, or the ends of a span."""
    spans = {
        front: Span.exact(cost) if isinstance(cost, int | float) else Span(cost[0], sum(cost) / 2, cost[1])
        for front, cost in costs.items()
    }
    return Candidate(name, accuracy, spans, frozenset(costs if firm is None else firm), kept)


def drawn(generator):
    """Twenty-five candidates on two noisy fronts and an exact one; some are on one alone, a few count on none."""
    found = []
    for index in range(25):
        costs = {front: float(generator.integers(2, 30)) for front in ("fast", "slow") if generator.random() < 0.85}
        spans = {front: (cost * 0.9, cost * 1.1) for front, cost in costs.items()}
        if generator.random() < 0.7:
            spans["macs"] = float(generator.integers(1, 20))
        firm = None if generator.random() < 0.8 else set(list(spans)[:1])
        found.append(candidate(str(index), float(generator.integers(80, 100)) / 100, firm=firm, **spans))
    return found


def front(rows):
    """By comparing all pairs: indices of the (error, cost) that no other beats, of equal ones the first."""
    return {
        i
        for i, a in rows.items()
        if not any(b[0] <= a[0] and b[1] <= a[1] and (b != a or j < i) for j, b in rows.items() if j != i)
    }


@pytest.mark.parametrize("seed", range(30))
def test_no_measurement_within_the_spans_would_offer_what_is_ruled_out(seed):
    generator = np.random.default_rng(seed)
    candidates = drawn(generator)
    out = screen(candidates)
    assert out
    for _ in range(20):
        for name in ("fast", "slow", "macs"):
            rows = {}
            for index, one in enumerate(candidates):
                span = one.costs.get(name)
                if span is not None and (index in out or name in one.firm):
                    cost = float(generator.uniform(span.low, span.high))
                    rows[index] = (1 - one.val_accuracy, cost)
            assert not front(rows) & set(out)


@pytest.mark.parametrize("seed", range(10))
def test_with_exact_costs_what_stays_are_the_fronts(seed):
    generator = np.random.default_rng(seed)
    candidates = [
        candidate(str(i), float(generator.integers(80, 99)) / 100, a=int(generator.integers(1, 20)), b=int(20 - i % 7))
        for i in range(20)
    ]
    stays = set(range(20)) - set(screen(candidates))
    rows = {name: {i: (1 - c.val_accuracy, c.costs[name].value) for i, c in enumerate(candidates)} for name in "ab"}
    assert stays == front(rows["a"]) | front(rows["b"])


def test_what_is_close_is_measured():
    assert screen([candidate("a", 0.9, ms=(0.9, 1.1)), candidate("b", 0.9, ms=(1.05, 1.2))]) == {}


def test_the_reason_names_one_that_stays():
    cheap, middle, dear = candidate("cheap", 0.9, ms=1), candidate("middle", 0.9, ms=2), candidate("dear", 0.8, ms=3)
    out = screen([dear, middle, cheap])
    assert sorted(out) == [0, 1]
    assert out[0] == "cheap is at least as accurate (90.0% against 80.0%) and cheaper (~1.00 against ~3.00)"


def test_what_may_be_beyond_a_limit_rules_out_nothing():
    assert screen([candidate("doubtful", 0.9, firm=(), ms=1), candidate("b", 0.8, ms=2)]) == {}


def test_what_is_asked_for_stays_and_counts():
    assert set(
        screen([candidate("asked", 0.8, kept=True, ms=2), candidate("b", 0.9, ms=1), candidate("c", 0.8, ms=3)])
    ) == {2}


def test_what_is_beyond_every_limit_needs_no_measurement():
    assert screen([Candidate("a", 0.9, {}, frozenset(), beyond="too large")]) == {0: "too large"}


def timing(per_exit, *processes):
    return Timing(per_exit, 0.1, (), processes)


def test_a_span_is_as_wide_as_the_processes_differ():
    found = brief_span(timing((1.0, 3.0), (1.0, 3.0), (1.2, 3.6), (0.8, 2.4)), (0.5, 0.5), "mean", None)
    assert (found.low, found.value, found.high) == pytest.approx((2.0 * 0.8, 2.0, 2.0 * 1.2))
    found = brief_span(timing((1.0, 3.0), (1.0, 3.0)), (0.5, 0.5), "energy", None)
    assert (found.low, found.value, found.high) == pytest.approx((2.0 * (1 - NOISE), 2.0, 2.0 * (1 + NOISE)))


def test_a_sample_of_the_images_may_have_another_mix():
    found = brief_span(timing((1.0, 3.0)), (0.5, 0.5), "mean", 100)
    assert (found.low, found.high) == pytest.approx((1.8 * (1 - NOISE), 2.2 * (1 + NOISE)))  # ± 2 · 1 / √100


@pytest.mark.parametrize(
    ("objective", "sampled", "low", "value", "high"),
    [
        ("p50", None, 1.0, 1.0, 1.0),
        ("p95", None, 3.0, 3.0, 3.0),
        ("p50", 25, 1.0, 1.0, 3.0),  # ± 2 · √(0.25 / 25) = 0.2 reaches the images that stay
        ("p95", 400, 3.0, 3.0, 3.0),
    ],
)
def test_quantiles_are_the_cost_of_an_exit(objective, sampled, low, value, high):
    found = brief_span(timing((1.0, 3.0)), (0.6, 0.4), objective, sampled)
    assert (found.low, found.value, found.high) == pytest.approx((low * (1 - NOISE), value, high * (1 + NOISE)))
