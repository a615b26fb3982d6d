"""All pairs on cached logits, against a slow loop that sends every image through both networks by hand."""

import itertools
from math import log, sqrt

import numpy as np
import pytest

from erde_nas.networks.cascade import Cascade
from erde_nas.networks.cascade_choice import MARGIN, SHARES, Member, all_pairs, promising
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.operating_points import operating_curve
from tests.networks.builders import build, small_arch

CLASSES, IMAGES = 4, 120


def network(seed, skill, exits=1):
    """Logits (exits, n, classes) that are right more often with more skill, and surer of the easy images."""
    random = np.random.default_rng(seed)
    labels, ease = np.random.default_rng(0).integers(0, CLASSES, IMAGES), np.linspace(-1, 2, IMAGES)
    logits = random.normal(0, 1, (exits, IMAGES, CLASSES))
    logits[:, np.arange(IMAGES), labels] += skill + ease + np.arange(exits)[:, None]
    return logits.astype(np.float32), labels


def members():
    found = {
        "a": (network(1, 0.5)[0], (1.0,)),
        "b": (network(2, 1.5)[0], (4.0,)),
        "c": (network(3, 1.0, 2)[0], (2.0, 3.0)),
    }
    return [Member(name, *values) for name, values in found.items()]


def by_hand(first, second, averaged, thresholds):
    """Accuracy, mean cost and the share of each exit, one image after the other."""
    labels, right, cost, left = network(0, 0)[1], 0, 0.0, [0] * (len(first.costs) + len(second.costs))
    for image, label in enumerate(labels):
        exits = [(row[image], c) for row, c in zip(first.logits, first.costs, strict=True)]
        for row, c in zip(second.logits, second.costs, strict=True):
            answer = (1 - averaged) * row[image] + averaged * first.logits[-1, image]
            exits.append((answer, first.costs[-1] + c))
        for number, (logits, paid) in enumerate(exits):
            p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
            if number == len(thresholds) or -(p * np.log(p)).sum() < thresholds[number]:
                right, cost = right + (logits.argmax() == label), cost + paid
                left[number] += 1
                break
    return right / IMAGES, cost / IMAGES, [count / IMAGES for count in left]


def test_every_point_of_every_pair_is_what_a_slow_loop_finds():
    found = {member.name: member for member in members()}
    pairs = list(all_pairs(members(), network(0, 0)[1]))
    tried = {(p.first, p.second, p.averaged) for p in pairs}
    wanted = [("a", "b"), ("a", "c"), ("c", "b")]  # b and c never answer for less than what would follow them costs
    assert tried == {(*names, averaged) for names in wanted for averaged in SHARES}
    for pair in pairs:
        assert pair.points
        for point in pair.points:
            accuracy, cost, shares = by_hand(found[pair.first], found[pair.second], pair.averaged, point.thresholds)
            assert point.accuracy == pytest.approx(accuracy)
            assert point.cost == pytest.approx(cost)
            assert point.exit_fractions == pytest.approx(shares)


def area(points):
    """What points dominate below an error of 1 and a cost of 11, in the logarithm of the cost, by a sum of strips."""
    total, best = 0.0, 0.0
    for accuracy, cost in sorted(points, key=lambda point: point[1]):
        if accuracy > best:
            total, best = total + (accuracy - best) * (log(11) - log(cost)), accuracy
    return total


def test_the_pair_that_adds_most_comes_first_and_what_is_left_must_add_to_it():
    labels = network(0, 0)[1]
    known = [point for m in members() for point in operating_curve(m.logits, labels, m.costs)]
    front = [(point.accuracy, point.cost) for point in known]
    chosen = promising(members(), known, labels, most=9)
    assert chosen
    names = [(pair.first, pair.second) for pair in chosen]
    assert len(set(names)) == len(names)
    for place, pair in enumerate(chosen):
        gains = {}
        for other in all_pairs(members(), labels):
            if (other.first, other.second) in names[:place]:
                continue
            points = [(point.accuracy, point.cost) for point in other.points]
            kept = [p for p in points if beats(p, front)]
            gains[other.first, other.second, other.averaged] = (area([*front, *kept]), kept)
        best, points = max(gains.values(), key=lambda gain: gain[0])
        assert gains[pair.first, pair.second, pair.averaged][0] == pytest.approx(best)
        assert [(point.accuracy, point.cost) for point in pair.points] == points
        front += points


def beats(point, front):
    accuracy, cost = point
    margin = MARGIN * sqrt(accuracy * (1 - accuracy) / IMAGES)
    return not any(c <= cost and a >= accuracy - margin for a, c in front)


def test_nothing_is_joined_where_nothing_is_gained():
    """One network is right everywhere and the cheapest: what comes before or behind it is of no use."""
    labels = network(0, 0)[1]
    perfect = Member("perfect", np.eye(CLASSES, dtype=np.float32)[labels][None] * 9, (1.0,))
    others = members()[1:]
    known = [point for m in (perfect, *others) for point in operating_curve(m.logits, labels, m.costs)]
    assert promising([perfect, *others], known, labels) == []
    assert promising([perfect], known, labels) == []
    assert promising([], [], labels) == []


def test_macs_of_a_cascade_are_all_that_runs():
    first, second = build(small_arch("resnet", ("gap", "erde"))), build(small_arch("vgg", ("gap",), width=16))
    a, b = macs_per_exit(first), macs_per_exit(second)
    assert macs_per_exit(Cascade(first, second)) == (*a, a[-1] + b[0])
    assert list(itertools.accumulate([a[0], a[1] - a[0], b[0]])) == list(macs_per_exit(Cascade(first, second, 0.5)))
