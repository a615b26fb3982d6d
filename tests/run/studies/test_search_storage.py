"""erde-nas search --storage: several searches, each with its own folder, share one study in PostgreSQL."""

import json
import os
import signal
import subprocess
import sys

import pytest

from erde_nas.distil.training.compute import Compute
from erde_nas.run.studies import shared

KILLED = """
import os, signal
import erde_nas.distil.prepare
from erde_nas.measurement import candidate_latency
from erde_nas.distil.training.compute import Compute
erde_nas.distil.prepare.calibrate = lambda *_: Compute("fp32", 1, 0.001)
whole, calls = candidate_latency.make_segments, 0
def deadly(*args):
    global calls
    calls += 1
    if calls == 3:  # the plan has a network timed first, then come the candidates
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args)
candidate_latency.make_segments = deadly
from erde_nas.cli.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("finished")  # its teacher is in the cache
def test_another_search_takes_over_from_a_killed_one(cli, tiny, tmp_path, database, monkeypatch):
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
    monkeypatch.setattr("erde_nas.distil.prepare.calibrate", lambda *_: Compute("fp32", 1, 0.001))
    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    monkeypatch.setattr(shared, "GRACE_S", 2.0)
    quick = tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []").variant(tmp_path / "b", "int8", "fp32")
    more = ("--storage", database, "--trials", "4")
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, *quick.search(tmp_path / "one", *more)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    first = child.stderr.split("search 1/4: ")[1].split()[0]

    done = cli(*quick.search(tmp_path / "two", *more))
    assert done.code == 0, done.err
    assert "search 1/4" not in done.err
    assert "search 4/4: " in done.err
    rows = json.loads((tmp_path / "two" / "pareto.json").read_text())["searched"]
    names = [row["student"] for row in rows]
    assert names[0] == first
    assert len(set(names)) == len(names) == 4
    assert {row["state"] for row in rows} == {"complete"}
    for text in ((tmp_path / "two" / "manifest.json").read_text(), done.out, done.err):
        assert "sesame" not in text

    monkeypatch.setenv("PGPASSWORD", "open sesame")
    again = cli(*quick.search(tmp_path / "one", "--trials", "4"))  # the folder knows its storage
    assert again.code == 0, again.err
    assert "search " not in again.err, "nothing is left to search"
    for folder, shown, own in (("one", again.err, names[:1]), ("two", done.err, names[1:])):
        shortlisted = [path.parent.name for path in (tmp_path / folder).glob("students/*/brief.safetensors")]
        assert len(shortlisted) == 2, "the first rung"
        for name in shortlisted:
            foreign = f"{name} is made again: its weights are not here"
            assert (foreign in shown) == (name not in own)
    assert json.loads((tmp_path / "one" / "pareto.json").read_text())["searched"] == rows


def test_a_run_keeps_to_its_place(cli, tiny, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
    done = cli(*tiny.search(finished, "--storage", f"sqlite:///{tmp_path / 'other.db'}"))
    assert done.code == 2
    assert "keeps its study in study.db; leave --storage away, or use another --out" in done.err


def test_a_storage_that_cannot_be_reached_leaves_nothing_behind(cli, tiny, tmp_path):
    done = cli(*tiny.search(tmp_path / "run", "--storage", "sqlite:////nowhere/x.db"))
    assert done.code == 2
    assert done.err.startswith(
        "error: --storage sqlite:////nowhere/x.db cannot be opened: unable to open database file"
    )
    assert not (tmp_path / "run").exists()
