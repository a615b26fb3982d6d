"""What a final measurement keeps: a profile without numbers leaves the others theirs, and damage costs time alone."""

import json
from pathlib import Path

import pytest

from erde_nas.errors import DeviceLost, RuntimeRefused
from erde_nas.measurement.latency import Workload
from erde_nas.measurement.statistics import Stream, Timing
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.results.timings import FinalTimings
from tests.damage import damaged

PROFILES = [HardwareProfile(name=name) for name in ("one", "two", "three")]
QUICK = [Workload("a", DeployableFile(Path("a.onnx")), 2)]
FULL = [Workload("a", DeployableFile(Path("a.onnx")), 2, ((0.5,),))]
STREAM = Stream(1.5, 1.4, 2.0, 2.1, (0.5, 0.5), 0.01, interval=(1.4, 1.6))
TIMINGS = {"a": Timing((1.0, 2.0), 0.1, (STREAM,), ((1.0, 2.0),), ((1.5,),), versions="r 1", memory_bytes=9)}
BRIEF = {"a": Timing((1.0, 2.0), 0.1, ())}


def refusing(error):
    def timed():
        raise error

    return timed


def test_a_runtime_that_refuses_leaves_the_other_profiles_their_numbers(tmp_path):
    kept = FinalTimings(tmp_path, again=False)
    kept.open(QUICK)
    assert kept.time_fully("1", PROFILES[:1], FULL, refusing(RuntimeRefused("no such operator"))) == {}
    assert kept.time_fully("2", PROFILES[1:2], FULL, lambda: TIMINGS) == TIMINGS
    assert kept.time_fully("3", PROFILES[2:], FULL, refusing(DeviceLost("gone"))) == {}
    assert kept.lost == {"one": "no such operator", "three": "gone"}


@pytest.fixture
def started(tmp_path):
    """A folder in which a start has measured the setting 2, but not 1."""
    first = FinalTimings(tmp_path, again=False)
    first.open(QUICK)
    first.time_quickly("1", PROFILES[:1], lambda: BRIEF)
    first.time_fully("1", PROFILES[:1], FULL, refusing(RuntimeRefused("no")))
    first.time_fully("2", PROFILES[1:2], FULL, lambda: TIMINGS)
    first.close()
    return tmp_path


def again(folder, full=FULL):
    """What the next start measures, finds and says."""
    second, calls, said = FinalTimings(folder, False, lambda text: said.append(text)), [], []
    second.open(QUICK)
    quick = second.quick
    found = {
        setting: second.time_fully(setting, PROFILES[:1], full, lambda: calls.append(setting) or TIMINGS)  # noqa: B023
        for setting in ("1", "2")
    }
    return calls, quick, found, said


def test_what_was_refused_is_tried_again_by_the_next_start_alone(started):
    assert again(started) == (["1"], BRIEF, {"1": TIMINGS, "2": TIMINGS}, [])


def test_every_damage_is_measured_again_and_said(started):
    """Or, where a number is another number, taken: nothing can tell. Nothing else is raised."""
    whole = (started / "timings.json").read_bytes()
    count = 0
    for what, value in damaged(json.loads(whole)):
        count += 1
        (started / "timings.json").write_text(json.dumps(value))
        calls, _, found, said = again(started)
        assert calls == (["1", "2"] if "2" in calls else ["1"])
        assert [len(found[setting]["a"].streams) for setting in "12"] == [1, 1], what
        assert len(said) <= 1
        assert all(line.count("\n") == 0 and "timings.json" in line and "measured again" in line for line in said)
    assert count > 300
    for cut in range(1, len(whole), 50):
        (started / "timings.json").write_bytes(whole[:-cut])
        calls, quick, _, (said,) = again(started)
        assert (calls, quick) == (["1", "2"], {})
        assert "timings.json is damaged: it is no JSON, or was cut off" in said
    (started / "timings.json").write_bytes(b"\xff\x00")
    assert again(started)[0] == ["1", "2"]


def test_timings_of_other_operating_points_are_measured_again(started):
    two = [Workload("a", DeployableFile(Path("a.onnx")), 2, ((0.5,), (0.7,)))]
    calls, quick, _, (said,) = again(started, two)
    assert (calls, quick) == (["1", "2"], BRIEF)
    assert "the timing of a is not of its exits and operating points; one is measured again" in said


def test_timings_of_other_files_are_forgotten(started):
    second = FinalTimings(started, again=False, say=pytest.fail)
    second.open([Workload("b", DeployableFile(Path("b.onnx")), 2)])
    assert second.quick == {}
