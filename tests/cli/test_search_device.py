"""erde-nas search with a device that is lost: candidates come back, and its profile is measured when it is there."""

import json

import pytest

from erde_nas.errors import DeviceLost
from erde_nas.measurement import failures
from erde_nas.searching import evaluate
from erde_nas.searching import retry as postponed


@pytest.fixture
def far(tiny, tmp_path):
    """The tiny recipe as small as it may be, and a second profile that is measured another way."""
    tiny = tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []")
    tiny = tiny.variant(tmp_path / "b", "precision: int8", "precision: fp32")
    return tiny, tiny.variant(tmp_path / "far", "name: quick\n", "name: far\nbatch_size: 2\n").profile


def test_candidates_come_back_and_a_profile_is_measured_later(cli, far, tmp_path, calibrated, monkeypatch):
    tiny, profile = far
    measure, latency, asked, gone = failures.measure, evaluate.latency_per_exit, [], {"far": True}

    def lost_at_first(network, *more):
        asked.append(network.arch.id)
        if len(asked) == 1:
            raise DeviceLost("ssh:pi: the connection was cut")
        return latency(network, *more)

    def without_far(files, profile, *more):
        if gone.get(profile.name):
            raise DeviceLost("ssh:pi cannot be reached")
        measured.append(profile.name)
        return measure(files, profile, *more)

    measured = []
    monkeypatch.setattr(evaluate, "latency_per_exit", lost_at_first)
    monkeypatch.setattr(failures, "measure", without_far)
    words = tiny.search(tmp_path / "run", "--profile", str(profile), "--trials", "2")
    done = cli(*words)
    assert done.code == 2, done.err
    assert f"search {asked[0]} comes back later: ssh:pi: the connection was cut" in done.err
    assert asked[2] == asked[0], "after the next one was measured"
    assert len(asked) == 3
    assert done.err.splitlines()[-1] == (
        "error: profile far has no numbers: ssh:pi cannot be reached. The search, run again, measures what is missing"
    )
    report = json.loads((tmp_path / "run" / "pareto.json").read_text())
    assert [row["state"] for row in report["searched"]] == ["complete"] * 2
    assert report["unmeasured"] == {"far": "ssh:pi cannot be reached"}
    assert report["fronts"]["far"] == []
    before = {point["student"]: point["latency_ms"]["quick"] for point in report["points"] if point["file"]}
    assert set(measured) == {"quick"}

    gone.clear()
    measured.clear()
    done = cli(*words)
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "pareto.json").read_text())
    assert report["unmeasured"] == {}
    points = [point for point in report["points"] if point["file"]]
    assert {point["student"]: point["latency_ms"]["quick"] for point in points} == before
    assert all(point["latency_ms"]["far"]["mean"] > 0 for point in [*points, report["teacher"], *report["baselines"]])
    assert set(measured) == {"far"}
    assert not (tmp_path / "run" / "timings.json").exists()


def test_a_device_that_stays_away_ends_the_search_and_costs_no_candidate(cli, far, tmp_path, calibrated, monkeypatch):
    tiny, asked = far[0], []

    def lost(network, *_):
        asked.append(network.arch.id)
        raise DeviceLost("ssh:pi cannot be reached")

    monkeypatch.setattr(evaluate, "latency_per_exit", lost)
    monkeypatch.setattr("erde_nas.pipeline.check_hardware", lambda profiles: None)
    done = cli(*tiny.search(tmp_path / "run", "--trials", "9"))
    assert done.code == 2
    assert len(set(asked)) == len(asked) == postponed.LOST_IN_A_ROW
    assert done.err.splitlines()[-1] == (
        "error: ssh:pi cannot be reached. 3 candidates in a row could not be measured; what is finished is kept, and "
        "the same command continues when the device is back"
    )
