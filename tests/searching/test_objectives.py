"""Which profiles a search optimises, measures under, and leaves for the finished students."""

import pytest

from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile, LimitsSection
from erde_nas.recipe.search import SearchSection
from erde_nas.registry import OBJECTIVES
from erde_nas.searching.objectives import (
    Objective,
    cost_of_exits,
    limits_exceeded,
    objective_names,
    objective_values,
    optimised,
    timed,
)
from tests.space.builders import judged

NEAR, FAR = HardwareProfile(name="near"), HardwareProfile(name="far")
LIMITED = HardwareProfile(name="limited", limits=LimitsSection(latency_ms=2.0))
PROFILES = (NEAR, FAR, LIMITED)


def test_every_profile_is_optimised_unless_some_are_named():
    assert optimised(SearchSection(), PROFILES) == timed(SearchSection(), PROFILES) == PROFILES


def test_some_are_optimised_and_what_is_limited_is_measured_too():
    search = SearchSection(latency_of=("near",))
    assert optimised(search, PROFILES) == (NEAR,)
    assert timed(search, PROFILES) == (NEAR, LIMITED)


def test_latency_stands_for_one_objective_per_optimised_profile():
    search = SearchSection(objectives=("latency", "error", "macs"), latency_of=("far", "near"))
    assert objective_names(search, PROFILES) == ["latency_ms:near", "latency_ms:far", "error", "macs"]


def test_a_profile_that_the_run_does_not_have():
    with pytest.raises(UserError, match=r"latency_of names 'phone', but .* are near, far, limited; .*--profile"):
        optimised(SearchSection(latency_of=("near", "phone")), PROFILES)


def test_values_stand_in_the_order_of_their_names():
    search = SearchSection(objectives=("latency", "error", "params", "macs"), latency_of=("far", "near"))
    what = judged((0.75,), macs=12.0, params=7, latency_ms={"near": 0.5, "far": 2.0, "limited": 9.0})
    assert objective_names(search, PROFILES) == ["latency_ms:near", "latency_ms:far", "error", "params", "macs"]
    assert objective_values(what, search, PROFILES) == (0.5, 2.0, 0.25, 7.0, 12.0)


@pytest.mark.parametrize(
    ("objectives", "cost"),
    [
        (("error", "latency"), "near"),
        (("latency", "macs", "error"), "near"),
        (("error", "macs", "latency"), "macs"),
        (("error", "params"), "macs"),
    ],
)
def test_thresholds_are_chosen_by_the_cost_that_is_named_first(objectives, cost):
    assert cost_of_exits(SearchSection(objectives=objectives), PROFILES) == cost


SIZE = Objective(lambda judged, _: float(judged.size_bytes))
TAIL = Objective(lambda judged, profile: 2 * judged.latency_ms[profile], "tail_ms")


def test_a_toy_objective_is_named_in_a_recipe_and_minimised():
    with pytest.raises(ValueError, match=r"Input should be 'error', 'macs', 'params' or 'latency'"):
        SearchSection(objectives=("error", "size_bytes"))
    with (
        OBJECTIVES.registered("size_bytes", f"{__name__}:SIZE"),
        OBJECTIVES.registered("tail", f"{__name__}:TAIL"),
    ):
        search = SearchSection(objectives=("error", "size_bytes", "tail"))
        what = judged((0.75,), size_bytes=40, latency_ms={"near": 0.5, "far": 2.0})
        assert objective_names(search, PROFILES[:2]) == ["error", "size_bytes", "tail_ms:near", "tail_ms:far"]
        assert objective_values(what, search, PROFILES[:2]) == (0.25, 40.0, 1.0, 4.0)


def test_limits_are_exceeded_by_a_share_of_themselves():
    small = HardwareProfile(name="small", limits=LimitsSection(latency_ms=2.0, macs=100, params=8, size_bytes=20))
    what = judged(macs=150.0, params=10, latency_ms={"small": 1.0, "near": 9.0})
    assert small.bytes_per_parameter == 4
    assert limits_exceeded(what, (NEAR, small)) == pytest.approx((-0.5, 0.5, 0.25, 1.0))


def test_latency_is_the_quantile_that_a_profile_names():
    tail = HardwareProfile(name="tail", objective="p95")
    what = judged((0.75,), latency_ms={"near": 0.5, "tail": 0.4}, objective_ms={"tail": 1.5})
    search = SearchSection()
    assert objective_names(search, (NEAR, tail)) == ["error", "latency_ms:near", "p95_ms:tail"]
    assert objective_values(what, search, (NEAR, tail)) == (0.25, 0.5, 1.5)
