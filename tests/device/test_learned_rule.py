"""The learned rule: its score by a slow loop, and what it learns where the best rule is known."""

import json
import math

import numpy as np
import pytest
from scipy.special import expit

from erde_nas.device.exit_rules import MARGIN, exit_rule
from erde_nas.device.learned_rule import LEARNED
from erde_nas.errors import UserError
from erde_nas.networks.operating_points import FOLDS, held_out_scores, operate, operating_curve, scores
from tests.exit_rules import FITTED

COSTS = [1.0, 3.0]


def likelihoods(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]


def by_hand(weights, row, before):
    bias, entropy, agreement, *largest = weights
    p = likelihoods(row)
    odds = bias - entropy * math.fsum(q * math.log(q) for q in p)
    odds += math.fsum(w * math.log(q) for w, q in zip(largest, sorted(p)[::-1], strict=False))
    if before is not None:
        odds += agreement * math.fsum(q * r for q, r in zip(p, likelihoods(before), strict=True))
    return 1 / (1 + math.exp(-odds))


def test_the_score_is_that_of_a_slow_loop():
    first, second = np.random.default_rng(0).normal(0, 3, (2, 100, 4))
    weights = json.loads(FITTED.parameters)
    wanted = [by_hand(weights[0], row, None) for row in first.tolist()]
    np.testing.assert_allclose(FITTED.score([first]), wanted, atol=1e-12)
    wanted = [by_hand(weights[1], row, before) for row, before in zip(second.tolist(), first.tolist(), strict=True)]
    np.testing.assert_allclose(FITTED.score([first, second]), wanted, atol=1e-12)


def one_that_is_mended(rng, count, likely):
    """Two classes; exit 0's logits lie `gap` apart and are wrong with the likelihood `likely(gap)`; exit 1 is right."""
    gap = rng.exponential(2, count)
    labels = rng.integers(0, 2, count)
    named = np.where(rng.random(count) < likely(gap), 1 - labels, labels)
    first = np.zeros((count, 2))
    first[np.arange(count), named] = gap
    return gap, np.stack([first, 9.0 * np.eye(2)[labels]]), labels


def test_it_learns_how_likely_going_on_mends_the_answer():
    """Where that is logistic in the margin of the logits, the fitted score is that likelihood, within its error."""
    likely = lambda gap: expit(-0.5 - 0.7 * gap)  # noqa: E731
    gap, logits, labels = one_that_is_mended(np.random.default_rng(1), 20_000, likely)
    found = LEARNED.fitted(logits, labels).score([logits[0]])
    np.testing.assert_allclose(found, likely(gap), atol=0.03)  # four weights: a standard error of about 0.01


def ambiguous_and_hopeless(rng, count):
    """Half of the images are between two classes, which exit 1 tells apart; the rest no exit does better than by luck.

    Exit 0 is right on half of the first and a quarter of the others, and it is surer of the first by every measure of
    its own, so that entropy, likeliest class and margin send the hopeless ones on first.
    """
    labels, hopeless = rng.integers(0, 4, count), rng.random(count) < 0.5
    first = rng.normal(0, 0.05, (count, 4))
    other = (labels + rng.integers(1, 4, count)) % 4
    rows = np.arange(count)
    first[rows, labels] += 5.0 * ~hopeless
    first[rows, other] += 5.0 * ~hopeless
    first[rows, np.where(rng.random(count) < 0.5, labels, other)] += 0.5 * ~hopeless
    second = np.where(hopeless[:, None], first, 9.0 * np.eye(4)[labels])
    return np.stack([first, second]), labels, hopeless


def test_images_that_no_exit_gets_right_leave():
    """The best rule is known: the ambiguous half goes on, the hopeless one leaves, at no loss of accuracy."""
    rng = np.random.default_rng(2)
    logits, labels, hopeless = ambiguous_and_hopeless(rng, 4000)
    best = (logits[1].argmax(-1) == labels).mean()
    cheapest = {}
    for rule in (MARGIN, exit_rule("entropy"), LEARNED):
        curve = operating_curve(logits, labels, COSTS, rule)
        point = min((point for point in curve if point.accuracy >= best - 0.01), key=lambda point: point.cost)
        fresh, its_labels, _ = ambiguous_and_hopeless(rng, 4000)
        tested = operate(fresh, its_labels, COSTS, point.thresholds, rule.fitted(logits, labels))
        assert abs(tested.accuracy - point.accuracy) < 0.03
        assert abs(tested.cost - point.cost) < 0.1
        cheapest[rule.name] = point.cost
    assert cheapest["learned"] == pytest.approx(1 + 2 * (~hopeless).mean(), abs=0.05)
    assert min(cheapest["entropy"], cheapest["margin"]) > 2.5


@pytest.mark.parametrize("right", [True, False])
def test_where_going_on_never_or_always_mends_nothing_is_learned(right):
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1, (2, 50, 5))
    labels = logits[0].argmax(-1) if right else (logits[0].argmax(-1) + 1) % 5
    logits[1] = 9 * np.eye(5)[labels]
    rule = LEARNED.fitted(logits, labels)
    np.testing.assert_array_equal(rule.score([logits[0]]), LEARNED.score([logits[0]]))


def test_thresholds_are_chosen_on_scores_of_images_that_were_not_fitted():
    _, logits, labels = one_that_is_mended(np.random.default_rng(5), 103, lambda gap: expit(-gap))
    found = held_out_scores(LEARNED, logits, labels)
    for i in range(0, 103, 17):
        others = np.arange(103) % FOLDS != i % FOLDS
        rule = LEARNED.fitted(logits[:, others], labels[others])
        assert found[0, i] == pytest.approx(scores(rule, logits[:, i : i + 1])[0, 0], rel=1e-9)
    np.testing.assert_array_equal(held_out_scores(MARGIN, logits, labels), scores(MARGIN, logits))
    fitted = LEARNED.fitted(logits, labels)
    np.testing.assert_array_equal(held_out_scores(fitted, logits, labels), scores(fitted, logits))


def test_labels_of_pure_chance_promise_no_gain():
    """The fit finds something in 60 images of noise; on the images themselves that would look like a gain."""
    rng, gains = np.random.default_rng(6), []
    for _ in range(60):
        logits, labels = rng.normal(0, 2, (2, 60, 3)), rng.integers(0, 3, 60)
        plain = max(point.accuracy for point in operating_curve(logits, labels, COSTS, MARGIN))
        seen = max(p.accuracy for p in operating_curve(logits, labels, COSTS, LEARNED.fitted(logits, labels)))
        held_out = max(point.accuracy for point in operating_curve(logits, labels, COSTS, LEARNED))
        gains.append((seen - plain, held_out - plain))
    of_seen, of_held_out = np.mean(gains, 0)
    assert of_seen > 0.02
    assert abs(of_held_out) < 0.01


def test_a_record_is_read_as_it_was_written_and_anything_else_refused():
    rule = exit_rule(FITTED.record)
    logits = np.random.default_rng(7).normal(0, 2, (2, 9, 4)).astype(np.float32)
    np.testing.assert_array_equal(rule.score(list(logits)), FITTED.score(list(logits)))
    assert rule.record == FITTED.record
    assert LEARNED.record == "learned"
    with pytest.raises(UserError, match=r"'learned' cannot have the parameters '\[\[1\]\]': they are no list of"):
        exit_rule("learned [[1]]")
    with pytest.raises(UserError, match="'margin' cannot have the parameters '3': it takes none"):
        exit_rule("margin 3")
