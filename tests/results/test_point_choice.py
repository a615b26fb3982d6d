"""Goals: what is asked for, which point reaches it, and which one comes nearest."""

from dataclasses import replace
from itertools import product

import pytest

from erde_nas.errors import UserError
from erde_nas.networks.operating_points import OperatingPoint
from erde_nas.recipe.goal import GoalSection, misses, parse_goal
from erde_nas.results.goal_outcome import sentence
from erde_nas.results.offers import DOMINATED
from erde_nas.results.point_choice import choose, points_for
from tests.results.test_offers import point

TEACHER = point("teacher", 0.95, 100.0, fast=10.0)


def test_targets_are_read():
    goal = parse_goal(["speedup=20", "accuracy_drop=0.01"])
    assert goal.wanted == {"speedup": 20.0, "accuracy_drop": 0.01}
    assert goal.needs_no_training
    assert not parse_goal(["accuracy_drop=0.01"]).needs_no_training


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["speed=2"], "'speed' is none of latency_ms, speedup, size_kb, accuracy_drop"),
        (["speedup"], "'' is no number"),
        (["speedup=fast"], "'fast' is no number"),
        (["speedup=2", "speedup=3"], "'speedup' is given twice"),
        (["latency_ms=-1"], "latency_ms=-1: latency_ms must be a finite number above 0"),
        (["latency_ms=nan"], "latency_ms=nan"),
        (["latency_ms=inf"], "latency_ms must be a finite number above 0; give for example --target latency_ms=0.05"),
        (["speedup=0"], "speedup=0: speedup must be a finite number above 0"),
        (["size_kb=1e-999"], "size_kb must be a finite number above 0"),
        (["accuracy_drop=1.5"], "accuracy_drop=1.5"),
        (["accuracy_drop=1"], "must be a share from 0 to below 1: 0.01 is one point of accuracy"),
        (["accuracy_drop=-0.1"], "must be a share from 0 to below 1"),
        (["accuracy_drop=1%"], "'1%' is no number; give for example --target accuracy_drop=0.01"),
    ],
)
def test_malformed_targets(texts, said):
    with pytest.raises(UserError, match=r"--target ") as caught:
        parse_goal(texts)
    assert said in str(caught.value)


def test_a_goal_needs_something():
    with pytest.raises(ValueError, match="at least one of"):
        GoalSection()


def test_misses_are_shares_of_what_is_wanted():
    goal = GoalSection(latency_ms=2, speedup=4, size_kb=10, accuracy_drop=0.02)
    found = misses({"latency_ms": 3, "speedup": 2, "size_kb": 5, "accuracy_drop": 0.03}, goal)
    assert found == pytest.approx({"latency_ms": 0.5, "speedup": 1.0, "size_kb": -0.5, "accuracy_drop": 0.5})


GRID = [
    point(f"s{i}", accuracy, 1.0, fast=ms, size_bytes=size)
    for i, (accuracy, ms, size) in enumerate(product((0.9, 0.93, 0.945), (0.4, 0.8, 2.0), (3000, 9000)))
]


@pytest.mark.parametrize("drop", [0.0, 0.005, 0.02, 0.05, 0.9])
def test_the_fastest_point_that_reaches_it_is_chosen(drop):
    """Against a look at every point of a grid."""
    goal = GoalSection(speedup=10, size_kb=5, accuracy_drop=drop)
    chosen = choose(GRID, TEACHER, 10.0, "fast", goal)
    fitting = [p for p in GRID if p.latency_ms["fast"].mean <= 1.0 and p.size_bytes <= 5000]
    fitting = [p for p in fitting if p.val_accuracy >= 0.95 - drop - 1e-9]
    if not fitting:
        assert chosen.missed
        return
    best = min(fitting, key=lambda p: (p.latency_ms["fast"].mean, -p.val_accuracy))
    assert (chosen.point, chosen.missed) == (best, "")
    assert sentence(chosen, goal, "fast").startswith(f"Goal reached on fast by {best.student} (finished)")


def test_without_a_word_on_accuracy_a_point_of_it_is_given_up_at_most():
    goal = GoalSection(latency_ms=1.0)
    assert choose(GRID, TEACHER, 10.0, "fast", goal).point.val_accuracy == 0.945
    assert choose(GRID, TEACHER, 10.0, "fast", goal).point.latency_ms["fast"].mean == 0.4
    poor = [p for p in GRID if p.val_accuracy < 0.94]
    assert choose(poor, TEACHER, 10.0, "fast", goal).point.val_accuracy == 0.93, "the most accurate where none is close"


def test_an_accuracy_is_said_as_what_it_is():
    goal = GoalSection(accuracy_drop=0.01)
    said = {}
    for accuracy in (0.9528, 0.95, 0.945):
        one = point("a", accuracy, 1.0, fast=1.0, thresholds=())
        said[accuracy] = sentence(choose([one], TEACHER, 10.0, "fast", goal), goal, "fast")
    assert "0.28 points above the teacher (wanted: at most 1 below) on validation" in said[0.9528]
    assert "as accurate as the teacher (wanted: at most 1 below)" in said[0.95]
    assert "0.50 points below the teacher (wanted: at most 1 below)" in said[0.945]
    for text in said.values():
        assert "drop" not in text
        assert "none" not in text
        assert "threshold" not in text


def test_the_nearest_is_named_where_none_reaches_it():
    points = [point("far", 0.95, 1.0, fast=2.0), point("near", 0.90, 1.0, fast=1.1), point("also", 0.90, 1.0, fast=1.2)]
    goal = GoalSection(speedup=10)
    chosen = choose(points, TEACHER, 10.0, "fast", goal)
    assert chosen.point.student == "near"
    text = sentence(chosen, goal, "fast")
    assert text.startswith("Goal not reached on fast. The nearest is near")
    assert "9.09x (wanted: 10x)" in text


def test_accuracy_is_held_against_the_teachers_on_validation():
    goal = GoalSection(accuracy_drop=0.01)
    points = [point("a", 0.94, 1.0, fast=3.0), point("b", 0.93, 1.0, fast=1.0)]
    assert choose(points, TEACHER, 10.0, "fast", goal).point.student == "a"
    assert (
        choose(points[1:], TEACHER, 10.0, "fast", goal).missed
        == "2.00 points below the teacher (wanted: at most 1 below)"
    )


def test_points_that_are_broken_or_were_not_measured_do_not_count():
    slow = point("b", 0.9, 1.0, fast=0.1, offered=False, reason=DOMINATED, dominated=True)
    points = [point("a", 0.94, 1.0, fast=0.1, offered=False, reason="wrong answers"), point("c", 0.94, 1.0), slow]
    assert choose(points, TEACHER, 10.0, "fast", GoalSection(speedup=2)).point is slow
    assert choose(points[1:2], TEACHER, 10.0, "fast", GoalSection(speedup=2)) is None
    last_resort = choose(points[:2], TEACHER, 10.0, "fast", GoalSection(speedup=2))
    assert (last_resort.point, last_resort.missed) == (points[0], "and is not offered (wrong answers)")
    assert "no student was measured" in sentence(None, GoalSection(speedup=2), "fast")


def test_thresholds_are_chosen_for_the_goal():
    curve = [OperatingPoint((t,), (0.5, 0.5), accuracy, cost) for t, accuracy, cost in
             ((3.0, 0.80, 1.0), (2.0, 0.90, 2.0), (1.0, 0.95, 3.0), (0.5, 0.96, 4.0))]  # fmt: skip

    def thresholds(**wanted):
        return [p.thresholds[0] for p in points_for(curve, GoalSection(**wanted), 0.97, 10.0)]

    assert thresholds(latency_ms=3.3) == [1.0]
    assert thresholds(speedup=4) == [2.0]  # 2.5 ms
    assert thresholds(accuracy_drop=0.05) == [1.0]
    assert thresholds(latency_ms=2.2, accuracy_drop=0.01) == [2.0, 0.5]
    assert thresholds(latency_ms=0.1) == thresholds(accuracy_drop=0.001) == thresholds(size_kb=3) == []


def test_a_goal_that_doubtful_latencies_reach_is_said_to_be_in_doubt():
    """One preempted process decided the teacher's mean; the student's own latency is firm, then noisy."""
    goal = GoalSection(speedup=5)
    firm, choice = TEACHER.latency_ms["fast"], choose([point("a", 0.95, 1.0, fast=1.0)], TEACHER, 10.0, "fast", goal)
    assert "doubt" not in sentence(choice, goal, "fast", firm)
    spoilt = replace(firm, p50=4.0, p95=5.0)
    assert "in doubt (the teacher's latency: its mean is beyond its p95" in sentence(choice, goal, "fast", spoilt)
    noisy = replace(choice.point, latency_ms={"fast": replace(choice.point.latency_ms["fast"], noisy=True)})
    assert "in doubt (the student's latency: noisy" in sentence(replace(choice, point=noisy), goal, "fast", firm)
    slow = GoalSection(latency_ms=5)
    assert "doubt" not in sentence(choice, slow, "fast", spoilt)  # which says nothing of the teacher
    assert "doubt" not in sentence(replace(choice, point=noisy), GoalSection(accuracy_drop=0.5), "fast", spoilt)
