"""What a final measurement keeps: a profile without numbers leaves the others theirs."""

from erde_nas.errors import DeviceLost, RuntimeRefused
from erde_nas.measurement.timing import Timing
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.results.timings import Ledger

PROFILES = [HardwareProfile(name=name) for name in ("one", "two", "three")]
TIMINGS = {"a": Timing((1.0, 2.0), 0.1, ())}


def refusing(error):
    def timed():
        raise error

    return timed


def test_a_runtime_that_refuses_leaves_the_other_profiles_their_numbers(tmp_path):
    ledger = Ledger(tmp_path, again=False)
    ledger.open(["a"])
    assert ledger.time_fully("1", PROFILES[:1], refusing(RuntimeRefused("no such operator"))) == {}
    assert ledger.time_fully("2", PROFILES[1:2], lambda: TIMINGS) == TIMINGS
    assert ledger.time_fully("3", PROFILES[2:], refusing(DeviceLost("gone"))) == {}
    assert ledger.lost == {"one": "no such operator", "three": "gone"}


def test_what_was_refused_is_tried_again_by_the_next_start_alone(tmp_path):
    first = Ledger(tmp_path, again=False)
    first.open(["a"])
    first.time_fully("1", PROFILES[:1], refusing(RuntimeRefused("no")))
    first.time_fully("2", PROFILES[1:2], lambda: TIMINGS)
    first.close()
    second, calls = Ledger(tmp_path, again=False), []
    second.open(["a"])
    for setting in ("1", "2"):
        second.time_fully(setting, PROFILES[:1], lambda: calls.append(setting) or TIMINGS)  # noqa: B023
    assert calls == ["1"]
