"""A search that is killed or interrupted loses nothing that was finished, and the same command completes it."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

KILL = """
import os, signal
import {module} as module
whole, calls = module.{owner}{function}, 0
def deadly(*args, **kwargs):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args, **kwargs)
module.{owner}{function} = deadly
from erde_nas.cli.app import main
main()
"""
# The weights of the second candidate are written, its trial is not.
IN_SEARCH = KILL.format(module="erde_nas.pipeline", owner="RunStore.", function="add", call=2)
# Two shortlisted students are trained on, their brief weights are kept apart, the new ones are not written yet.
IN_FINISH = KILL.format(module="erde_nas.searching.shortlist", owner="", function="save_weights", call=3)


def start(code: str, words: list[str]) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def students(folder) -> dict[str, tuple[int, dict]]:
    """When each student's weights were written, and what is known of it."""
    return {
        path.parent.name: (path.stat().st_mtime_ns, json.loads((path.parent / "metrics.json").read_text()))
        for path in (folder / "students").glob("*/weights.safetensors")
        if (path.parent / "metrics.json").is_file()
    }


@pytest.fixture
def cached_teacher(finished):
    """The teacher is in the cache once there is a finished run."""


@pytest.mark.slow
@pytest.mark.usefixtures("cached_teacher")
def test_killed_twice_and_completed(cli, tiny, tmp_path, calibrated, monkeypatch):
    out = tmp_path / "run"
    quick = tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []").variant(tmp_path / "b", "int8", "fp32")
    words = quick.search(out)
    for code in (IN_SEARCH, IN_FINISH):
        child = start(calibrated + code, words)
        _, errors = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, errors
        assert not (out / "pareto.json").exists()
        if code == IN_SEARCH:
            first = students(out)
            kept = next(name for name in first if f"search 1/3: {name}" in errors)
            assert "search 2/3" not in errors

    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    done = cli(*words)
    assert done.code == 0, done.err
    assert "search " not in done.err, "all candidates were stored"
    report = json.loads((out / "pareto.json").read_text())
    names = [row["student"] for row in report["searched"]]
    assert len(set(names)) == len(names) == 3
    assert names[0] == kept
    assert report["searched"][0]["val_accuracy"] == first[kept][1]["searched"]["val_accuracy"]
    assert report["searched"][0]["latency_ms"] == first[kept][1]["searched"]["latency_ms"]
    last = students(out)
    assert sorted(last[name][1]["stage"] for name in names) == ["finished", "searched", "searched"]
    assert last[kept][1]["stage"] == "finished" or last[kept][0] == first[kept][0], "its weights were written again"
    assert report["interrupted"] is False


@pytest.mark.usefixtures("cached_teacher")
def test_ctrl_c_in_the_middle_writes_a_report(cli, tiny, tmp_path, calibrated):
    out = tmp_path / "run"
    child = start(calibrated + "from erde_nas.cli.app import main; main()", tiny.search(out, "--trials", "500"))
    assert child.stderr is not None
    said = [child.stderr.readline()]
    while "plan:" not in said[-1] and said[-1]:  # what the data are comes first
        said.append(child.stderr.readline())
    line = said[-1]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[", text) for text in said), said
    assert "data: digits, 10 classes" in said[0]
    assert "plan: 500 candidates x 2 epochs; finish 2 x 1 -> 1 x 1 epochs; prune 50% x 2 epochs; about " in line
    while (line := child.stderr.readline()) and "search 1/500" not in line:
        said.append(line)
    assert line, (said, "no candidate")
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: measuring processes get it too
    shown, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("Interrupted. What is finished is kept; the same command continues.")
    report = json.loads((out / "pareto.json").read_text())
    assert report["interrupted"] is True
    assert report["searched"]
    assert {point["reason"] for point in report["points"]} == {"the run was interrupted before it was finished"}
    assert {latency["source"] for point in report["points"] for latency in point["latency_ms"].values()} == {
        "estimated"
    }
    assert not any(point["offered"] for point in report["points"])
    assert any(report["estimated_fronts"].values())
    assert not any(report["fronts"].values())
    assert "Report: " in shown
    done = cli("report", out)
    assert done.code == 0, done.err


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_ctrl_c_while_finishing(cli, tiny, run, shortlisted, monkeypatch):
    metrics = run / "students" / shortlisted / "metrics.json"
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "stage": "searched", "rungs": []}))
    (run / "measured.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("erde_nas.distil.training.together.train", interrupt)
        assert cli(*tiny.search(run)).code == 130
    report = json.loads((run / "pareto.json").read_text())
    assert report["teacher"] is None
    assert {point["stage"] for point in report["points"]} == {"searched"}


def test_ctrl_c_before_anything_is_finished(cli, tiny, tmp_path, calibrated, monkeypatch):
    for place in (
        "erde_nas.pipeline.load_dataset",
        "erde_nas.distil.prepare.prepare_teacher",
        "erde_nas.measurement.candidate_latency.make_segments",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupt)
            done = cli(*tiny.search(tmp_path / "run"))
        assert done.code == 130, place
        assert done.out == ""
        assert done.err.splitlines()[-1] == "Interrupted. What is finished is kept; the same command continues."
        assert not (tmp_path / "run" / "pareto.json").exists()


def test_ctrl_c_twice(cli, tiny, run, monkeypatch):
    """The second one stops the report of the first; the former report is still whole."""
    before = (run / "pareto.json").read_text()
    monkeypatch.setattr("erde_nas.pipeline.finish_shortlist", interrupt)
    monkeypatch.setattr("erde_nas.pipeline.write_report", interrupt)
    done = cli(*tiny.search(run))
    assert (done.code, done.out) == (130, "")
    assert (run / "pareto.json").read_text() == before


def test_ctrl_c_in_other_commands(cli, run, monkeypatch):
    monkeypatch.setattr("erde_nas.pipeline.finish", interrupt)
    done = cli("compress", run)
    assert (done.code, done.out) == (130, "")
    monkeypatch.setattr("erde_nas.api.run.write_report", interrupt)
    assert cli("report", run).code == 130
