"""What is worth shipping: fronts against brute force, and the reason that every other point is given."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point
from erde_nas.results.offers import DOMINATED, front_hypervolumes, mean_latency, offer

FAST, SLOW = HardwareProfile(name="fast"), HardwareProfile(name="slow")


def latency(mean: float | None, last: float) -> Latency:
    """A latency with a mean, and that of the last exit."""
    source: Any = "estimated" if mean is None else "measured"
    return Latency(mean, mean, mean, mean, mean or 1.0, (0.1, last), source, "onnxruntime", "cpu", 1, 1, "fp32")


def point(
    student: str,
    accuracy: float,
    macs: float,
    *,
    stage: Any = "finished",
    fast: float | None = None,
    slow: float | None = None,
    last: float = 1.0,
    **changes: Any,
) -> Point:
    """A measured point; `last` is the milliseconds of the last exit under the profiles whose mean is given."""
    means = {name: mean for name, mean in (("fast", fast), ("slow", slow)) if mean is not None}
    fields: dict[str, Any] = {
        "student": student,
        "stage": stage,
        "arch": None,
        "thresholds": (0.5,),
        "exit_fractions": (0.5, 0.5),
        "val_accuracy": accuracy,
        "test_accuracy": 1 - accuracy,  # nothing may depend on it
        "test_accuracy_ci95": None,
        "macs": macs,
        "macs_per_exit": (macs, macs),
        "params": 1000,
        "size_bytes": 4000,
        "latency_ms": {name: latency(mean, last) for name, mean in means.items()},
        "file": "model.onnx",
    }
    return Point(**{**fields, **changes})


def limited(profile: HardwareProfile, **limits: float) -> HardwareProfile:
    return HardwareProfile.model_validate({**profile.model_dump(), "limits": limits})


def brute_force(points: list[Point], cost: str) -> set[tuple[float, float]]:
    """(error, cost) of the points that no other beats, by comparing all pairs."""
    rows = []
    for one in points:
        value = one.macs if cost == "macs" else mean_latency(one, cost)
        if value is not None and not (cost == "macs" and one.stage == "quantized"):
            rows.append((1 - one.val_accuracy, value))
    return {a for a in rows if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in rows)}


@pytest.mark.parametrize("seed", range(20))
def test_fronts_are_those_of_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = [
        point(
            f"s{i}",
            float(generator.integers(80, 100)) / 100,
            float(generator.integers(1, 15)),
            fast=float(generator.integers(1, 15)) if generator.random() < 0.8 else None,
            slow=float(generator.integers(1, 15)) if generator.random() < 0.8 else None,
            stage="quantized" if generator.random() < 0.3 else "finished",
        )
        for i in range(25)
    ]
    marked, fronts = offer(points, (FAST, SLOW), {})
    assert set(fronts) == {"macs", "fast", "slow"}
    for cost, front in fronts.items():
        values = [marked[i].macs if cost == "macs" else mean_latency(marked[i], cost) for i in front]
        assert values == sorted(values, key=lambda value: value or 0.0)  # by cost
        assert len(set(values)) == len(values)  # equal points once
        got = {(1 - marked[i].val_accuracy, value) for i, value in zip(front, values, strict=True)}
        assert got == brute_force(points, cost)
    kept = {i for front in fronts.values() for i in front}
    for i, (before, after) in enumerate(zip(points, marked, strict=True)):
        assert after == (before if i in kept else replace(before, offered=False, reason=DOMINATED, dominated=True))


def test_equal_points_are_offered_once_and_the_first_is() -> None:
    points = [point("a", 0.9, 5), point("b", 0.9, 5)]
    marked, fronts = offer(points, (), {})
    assert fronts == {"macs": [0]}
    assert [one.offered for one in marked] == [True, False]


def test_validation_decides_and_not_test() -> None:
    good, lucky = point("a", 0.9, 5, test_accuracy=0.5), point("b", 0.8, 5, test_accuracy=1.0)
    assert offer([good, lucky], (), {})[1] == {"macs": [0]}


def test_a_compressed_student_that_is_slower_but_not_dominated_is_offered_with_a_remark() -> None:
    float32 = point("a", 0.80, 5, fast=1.0, last=2.0)
    int8 = point("a", 0.99, 5, stage="quantized", fast=1.5, last=2.5)
    marked, fronts = offer([float32, int8], (FAST,), {})
    assert fronts == {"macs": [0], "fast": [0, 1]}
    assert [one.offered for one in marked] == [True, True]
    assert marked[1].remarks == ("not faster than fp32: 2.50 against 2.00 ms on fast at the last exit",)
    assert marked[1].reason == ""


@pytest.mark.parametrize(("last", "remarks"), [(1.9, 0), (2.0, 1)])
def test_as_fast_is_not_faster(last: float, remarks: int) -> None:
    points = [point("a", 0.8, 5, fast=1.0, last=2.0), point("a", 0.9, 5, stage="quantized", fast=0.9, last=last)]
    assert len(offer(points, (FAST,), {})[0][1].remarks) == remarks


def test_a_pruned_student_is_compared_with_the_one_it_was_made_from() -> None:
    parent, stranger = point("a", 0.9, 9, fast=3.0, last=3.0), point("b", 0.7, 8, fast=2.5, last=0.1)
    pruned = point("a-p50", 0.85, 3, stage="pruned", fast=1.0, last=3.5)
    marked, _ = offer([parent, stranger, pruned], (FAST,), {"a-p50": "a"})
    assert marked[2].remarks == ("not faster than unpruned: 3.50 against 3.00 ms on fast at the last exit",)
    faster = replace(pruned, latency_ms={"fast": latency(1.0, 2.0)})
    assert offer([parent, stranger, faster], (FAST,), {"a-p50": "a"})[0][2].remarks == ()
    # An int8 file is compared with its own student in fp32, which is the pruned one.
    int8 = point("a-p50", 0.84, 3, stage="quantized", fast=0.8, last=3.4)
    assert offer([parent, pruned, int8], (FAST,), {"a-p50": "a"})[0][2].remarks == ()


def test_faster_under_one_profile_is_enough() -> None:
    both = {"fast": latency(1.0, 2.0), "slow": latency(4.0, 8.0)}
    float32 = point("a", 0.8, 5, latency_ms=both)
    int8 = point("a", 0.9, 5, stage="quantized", latency_ms={"fast": latency(0.9, 1.5), "slow": latency(4.0, 9.0)})
    assert offer([float32, int8], (FAST, SLOW), {})[0][1].remarks == ()
    slower = replace(int8, latency_ms={"fast": latency(0.9, 2.0), "slow": latency(4.0, 9.0)})
    (remark,) = offer([float32, slower], (FAST, SLOW), {})[0][1].remarks
    assert "2.00 against 2.00 ms on fast, 9.00 against 8.00 ms on slow" in remark


def test_a_point_beyond_every_profiles_limits_says_by_how_much() -> None:
    profiles = (limited(FAST, latency_ms=1.0, params=900), limited(SLOW, size_bytes=3999, macs=4.0))
    marked, fronts = offer([point("a", 0.9, 5, fast=1.5, slow=2.0)], profiles, {})
    assert fronts == {"macs": [], "fast": [], "slow": []}
    assert marked[0].reason == (
        "latency_ms 1.5 is over fast's limit 1; params 1000 is over fast's limit 900; "
        "macs 5 is over slow's limit 4; size_bytes 4000 is over slow's limit 3999"
    )


def test_a_limit_itself_is_kept() -> None:
    profile = limited(FAST, latency_ms=1.5, macs=5.0, params=1000, size_bytes=4000)
    assert offer([point("a", 0.9, 5, fast=1.5)], (profile,), {})[1] == {"macs": [0], "fast": [0]}


def test_a_point_beyond_one_profiles_limit_is_on_the_others_front_alone() -> None:
    points = [point("a", 0.9, 5, fast=1.5, slow=2.0), point("b", 0.8, 4, fast=0.9, slow=1.0)]
    marked, fronts = offer(points, (limited(FAST, latency_ms=1.0), SLOW), {})
    assert fronts == {"macs": [1, 0], "fast": [1], "slow": [1, 0]}
    assert all(one.offered for one in marked)


def test_what_is_beyond_a_limit_dominates_nobody() -> None:
    points = [point("good", 0.99, 1, fast=2.0), point("allowed", 0.8, 5, fast=0.9)]
    marked, fronts = offer(points, (limited(FAST, latency_ms=1.0),), {})
    assert fronts == {"macs": [1], "fast": [1]}
    assert [one.offered for one in marked] == [False, True]


def test_nothing_is_turned_away_in_favour_of_what_is_not_offered() -> None:
    generator = np.random.default_rng(0)
    profiles = (limited(FAST, latency_ms=9.0, params=1000), limited(SLOW, macs=11.0))
    for _ in range(20):
        points = [
            point(
                "a" if generator.random() < 0.5 else "a-p50",
                float(generator.integers(80, 100)) / 100,
                float(generator.integers(1, 15)),
                fast=float(generator.integers(1, 15)),
                slow=float(generator.integers(1, 15)),
                last=float(generator.integers(1, 15)),
                stage=("finished", "pruned", "quantized")[int(generator.integers(3))],
            )
            for _ in range(12)
        ]
        marked, _ = offer(points, profiles, {"a-p50": "a"})
        for one in marked:
            if one.dominated:
                better = [p for p in marked if p.offered and p.val_accuracy >= one.val_accuracy]
                for profile in profiles:
                    if one.macs is not None and (profile is FAST or one.macs <= 11.0 or profile.name == "fast"):
                        limit, cost = profile.limits.latency_ms or 99.0, mean_latency(one, profile.name) or 0.0
                        assert cost > limit or any((mean_latency(p, profile.name) or 99.0) <= cost for p in better)


def test_what_was_not_offered_before_keeps_its_reason() -> None:
    broken = point("a", 0.99, 1, fast=0.1, offered=False, reason="answers differently")
    marked, fronts = offer([broken, point("b", 0.8, 5, fast=1.0)], (FAST,), {})
    assert marked[0] == broken
    assert fronts == {"macs": [1], "fast": [1]}


def test_no_points() -> None:
    assert offer([], (FAST,), {}) == ([], {"macs": [], "fast": []})


def test_hypervolume_by_hand() -> None:
    teacher = point("teacher", 0.95, 10.0, fast=4.0)
    points = [point("a", 0.9, 5.0, fast=1.0), point("b", 0.8, 2.0, fast=3.0), point("c", 0.5, 20.0, slow=1.0)]
    fronts = {"macs": [1, 0], "fast": [0], "slow": [2]}
    # macs: b covers (1 - 0.2) of error times (1 - 0.2) of cost, and a adds a strip (0.2 - 0.1) high and (1 - 0.5) wide.
    # fast: a alone, 0.9 times 1 - 1/4. slow: the teacher was not measured there.
    assert front_hypervolumes(points, fronts, teacher, (FAST, SLOW)) == pytest.approx(
        {"macs": 0.64 + 0.05, "fast": 0.675}
    )


def test_points_beyond_the_teacher_and_empty_fronts_add_no_volume() -> None:
    teacher = point("teacher", 0.95, 10.0, fast=4.0)
    dear = [point("a", 0.99, 11.0, fast=5.0)]
    assert front_hypervolumes(dear, {"macs": [0], "fast": []}, teacher, (FAST,)) == {"macs": 0.0}


def with_median(one: Point, profile: str, p50: float, without_exits: float) -> Point:
    changed = replace(one.latency_ms[profile], p50=p50, p50_without_exits=without_exits)
    return replace(one, latency_ms={**one.latency_ms, profile: changed})


def test_that_exits_make_the_median_worse_is_a_remark() -> None:
    good = with_median(point("good", 0.9, 1, fast=2.0), "fast", 1.0, 1.1)
    bad = with_median(point("bad", 0.95, 2, fast=3.0), "fast", 1.2, 1.1)
    points, fronts = offer([good, bad], [FAST], {})
    assert [p.offered for p in points] == [True, True]
    assert points[1].remarks == (
        "p50 is worse than that of the same student without exits: 1.20 against 1.10 ms on fast",
    )
    assert (points[0].remarks, fronts["fast"]) == ((), [0, 1])


@pytest.mark.parametrize("objective", ["mean", "p50", "p95", "p99", "energy"])
@pytest.mark.parametrize("seed", range(4))
def test_the_cost_is_the_one_that_the_profile_names(objective: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    profile = HardwareProfile.model_validate({"name": "fast", "objective": objective})
    points = []
    for index in range(20):
        p50, mean, p95, p99, energy = (float(value) for value in generator.integers(1, 15, 5))
        timed = replace(latency(mean, 1.0), p50=p50, p95=p95, p99=p99, energy_mj=energy)
        accuracy = float(generator.integers(80, 100)) / 100
        points.append(point(f"s{index}", accuracy, 1.0, latency_ms={"fast": timed}))
    marked, fronts = offer(points, (profile,), {})
    key = "energy_mj" if objective == "energy" else objective
    rows = [(1 - one.val_accuracy, getattr(one.latency_ms["fast"], key)) for one in points]
    best = {a for a in rows if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in rows)}
    assert {rows[index] for index in fronts["fast"]} == best
    teacher = point("teacher", 0.95, 10.0, latency_ms={"fast": replace(latency(10.0, 1.0), energy_mj=10.0)})
    volume = front_hypervolumes(marked, {"fast": fronts["fast"]}, teacher, (profile,))["fast"]
    grid = (np.arange(1000) + 0.5) / 1000
    covered = np.zeros((1000, 1000), bool)
    for error, cost in best:
        covered |= (grid[:, None] >= error) & (grid[None, :] >= cost / 10)
    assert volume == pytest.approx(covered.mean(), abs=2e-3)


def test_a_device_that_counts_no_energy_offers_nothing_by_it() -> None:
    profile = HardwareProfile.model_validate({"name": "fast", "objective": "energy"})
    marked, fronts = offer([point("a", 0.9, 1, fast=1.0)], (profile,), {})
    assert fronts == {"macs": [], "fast": []}
    assert marked[0].reason == "its energy was not measured on fast"
    assert offer([point("a", 0.9, 1, fast=1.0, slow=1.0)], (profile, SLOW), {})[0][0].offered
