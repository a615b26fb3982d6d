"""The learned rule: its score by a slow loop, and what it learns where the best rule is known."""

import json
import math
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from erde_nas.device.exit_rules import MARGIN, exit_rule
from erde_nas.device.learned_rule import LEARNED, MENDS, most_likely
from erde_nas.errors import UserError
from erde_nas.networks.operating_points import FOLDS, held_out_scores, operate, operating_curve, scores
from tests.exit_rules import FITTED

COSTS = [1.0, 3.0]


def by_hand(chances, row):
    a, b, c, d = chances
    second, first = sorted(row)[-2:]
    gain = 1 / (1 + math.exp(-a - b * (first - second))) - 1 / (1 + math.exp(-c - d * (first - second)))
    return max(gain, 0.0)


def test_the_score_is_that_of_a_slow_loop():
    first, second = np.random.default_rng(0).normal(0, 3, (2, 100, 4))
    exits = json.loads(FITTED.parameters)
    np.testing.assert_allclose(FITTED.score([first]), [by_hand(exits[0], row) for row in first.tolist()], atol=1e-12)
    found = FITTED.score([first, second])
    np.testing.assert_allclose(found, [by_hand(exits[1], row) for row in second.tolist()], atol=1e-12)
    assert (found == 0).any()
    np.testing.assert_array_equal(FITTED.score([first, first, second]), LEARNED.score([second]))


def answers(rng, count, mends, spoils):
    """Two classes. Exit 0's logits lie `gap` apart; exit 1 mends and spoils its answers as often as `mends(gap)` and
    `spoils(gap)` say, and of the rest half are answered rightly by both. Returns gaps, logits and labels."""
    gap, drawn = rng.exponential(2, count), rng.random(count)
    mended = drawn < mends(gap)
    spoiled = ~mended & (drawn < mends(gap) + spoils(gap))
    here = np.where(mended, False, np.where(spoiled, True, rng.random(count) < 0.5))
    later = np.where(mended, True, np.where(spoiled, False, here))
    labels, rows = rng.integers(0, 2, count), np.arange(count)
    logits = np.zeros((2, count, 2))
    logits[0, rows, np.where(here, labels, 1 - labels)] = gap
    logits[1, rows, np.where(later, labels, 1 - labels)] = 9.0
    return gap, logits, labels


def test_it_learns_what_going_on_gains():
    """Where both chances are logistic in the lead, the fitted score is their difference, within its error."""
    mends, spoils = (lambda gap: expit(-0.5 - 0.7 * gap)), (lambda gap: expit(-1.5 - gap))
    gap, logits, labels = answers(np.random.default_rng(1), 20_000, mends, spoils)
    found = LEARNED.fitted(logits, labels).score([logits[0]])
    np.testing.assert_allclose(found, mends(gap) - spoils(gap), atol=0.02)  # a standard error of about 0.006


def test_its_lines_are_of_the_largest_posterior_density():
    ahead, happened = np.random.default_rng(2).exponential(2, (2, 40))
    happened = happened < 1

    def unlikely(values):
        odds = values[0] + values[1] * ahead
        standard = (np.array([values[0], values[1] * ahead.std()]) - MENDS.mean) / MENDS.deviation
        return np.logaddexp(0, -odds)[happened].sum() + np.logaddexp(0, odds)[~happened].sum() + (standard**2).sum() / 2

    np.testing.assert_allclose(most_likely(ahead, happened, MENDS), minimize(unlikely, [0, 0], tol=1e-10).x, atol=1e-4)


def luck(gap):
    """Of the images with a small lead exit 1 spoils as many as it mends; it mends 40 % of the others."""
    return np.where(gap < 1, 0.25, 0.4), np.where(gap < 1, 0.25, 0.0)


def test_images_for_which_going_on_is_a_gamble_leave():
    """The best rule is known: those with a small lead leave although they are the least sure, at no loss of accuracy;
    by every other rule they are the first to go on."""
    rng, cheapest = np.random.default_rng(3), {}
    draw = partial(answers, rng, 4000, lambda gap: luck(gap)[0], lambda gap: luck(gap)[1])
    gap, logits, labels = draw()
    for rule in (MARGIN, exit_rule("entropy"), LEARNED):
        curve = operating_curve(logits, labels, COSTS, rule)
        best = max(point.accuracy for point in curve)
        point = min((point for point in curve if point.accuracy >= best - 0.005), key=lambda point: point.cost)
        _, fresh, its_labels = draw()
        tested = operate(fresh, its_labels, COSTS, point.thresholds, rule.fitted(logits, labels))
        assert abs(tested.accuracy - point.accuracy) < 0.03
        assert abs(tested.cost - point.cost) < 0.1
        cheapest[rule.name] = point.cost
    assert cheapest["learned"] == pytest.approx(1 + 2 * (gap >= 1).mean(), abs=0.1)
    assert min(cheapest["entropy"], cheapest["margin"]) > 2.8


@pytest.mark.parametrize("count", [0, 1, 4, 20])
def test_with_few_images_it_orders_the_unsure_as_the_margin_does(count):
    rng = np.random.default_rng(4)
    mends, spoils = (lambda gap: expit(-gap)), (lambda gap: expit(-3 - gap))
    fresh = np.zeros((1, 100, 2))
    fresh[0, :, 0] = np.linspace(0, 3, 100)
    for _ in range(20):
        _, logits, labels = answers(rng, count, mends, spoils)
        assert (np.diff(LEARNED.fitted(logits, labels).score(fresh)) <= 0).all()


@pytest.mark.parametrize("right", [True, False])
def test_where_going_on_never_or_always_mends_the_score_says_so(right):
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1, (2, 50, 5))
    labels = logits[0].argmax(-1) if right else (logits[0].argmax(-1) + 1) % 5
    logits[1] = 9 * np.eye(5)[labels]
    score = LEARNED.fitted(logits, labels).score([logits[0]])
    assert (score < 0.05).all() if right else (score > 0.5).all()


def test_thresholds_are_chosen_on_scores_of_images_that_were_not_fitted():
    _, logits, labels = answers(np.random.default_rng(5), 103, lambda gap: expit(-gap), lambda gap: 0 * gap)
    found = held_out_scores(LEARNED, logits, labels)
    for i in range(0, 103, 17):
        others = np.arange(103) % FOLDS != i % FOLDS
        rule = LEARNED.fitted(logits[:, others], labels[others])
        assert found[0, i] == pytest.approx(scores(rule, logits[:, i : i + 1])[0, 0], rel=1e-9)
    np.testing.assert_array_equal(held_out_scores(MARGIN, logits, labels), scores(MARGIN, logits))
    fitted = LEARNED.fitted(logits, labels)
    np.testing.assert_array_equal(held_out_scores(fitted, logits, labels), scores(fitted, logits))


def test_labels_of_pure_chance_promise_no_gain():
    rng, gains = np.random.default_rng(6), []
    for _ in range(60):
        logits, labels = rng.normal(0, 2, (2, 60, 3)), rng.integers(0, 3, 60)
        plain, own = (operating_curve(logits, labels, COSTS, rule) for rule in (MARGIN, LEARNED))
        gains.append(max(point.accuracy for point in own) - max(point.accuracy for point in plain))
    assert np.mean(gains) < 0.005


def test_a_record_is_read_as_it_was_written_and_anything_else_refused():
    rule = exit_rule(FITTED.record)
    logits = np.random.default_rng(7).normal(0, 2, (2, 9, 4)).astype(np.float32)
    np.testing.assert_array_equal(rule.score(list(logits)), FITTED.score(list(logits)))
    assert rule.record == FITTED.record
    assert LEARNED.record == "learned"
    with pytest.raises(UserError, match=r"'learned' cannot have the parameters '\[\[1\]\]': they are not four numbers"):
        exit_rule("learned [[1]]")
    with pytest.raises(UserError, match="'margin' cannot have the parameters '3': it takes none"):
        exit_rule("margin 3")
