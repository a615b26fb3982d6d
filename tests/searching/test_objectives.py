"""Which profiles a search optimises, measures under, and leaves for the finished students."""

import pytest

from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile, LimitsSection
from erde_nas.recipe.recipe import SearchSection
from erde_nas.searching.objectives import objective_names, optimised, timed

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
