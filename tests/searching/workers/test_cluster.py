"""Candidates on a Ray cluster of two nodes on this machine, one of which is lost in the middle."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erde_nas.errors import UserError
from erde_nas.searching.workers.cluster import RayPool, Slots, connect, disconnect, slots, take_cores
from erde_nas.searching.workers.interface import Evaluated
from erde_nas.space.trial import Proposal, Trial

CANDIDATES = 14


@pytest.mark.parametrize(
    ("has", "wanted", "device", "threads", "expected"),
    [
        ({"CPU": 8.0}, None, "auto", 1, Slots(8, 1)),
        ({"CPU": 8.0}, 3, "auto", 2, Slots(3, 2)),
        ({"CPU": 8.0}, 99, "cpu", 3, Slots(2, 3)),
        ({"CPU": 64.0, "GPU": 4.0}, None, "auto", 1, Slots(4, 1, 1.0)),
        ({"CPU": 64.0, "GPU": 4.0}, None, "cpu", 4, Slots(16, 4)),
        ({"CPU": 64.0, "GPU": 4.0}, 9, "cuda", 1, Slots(9, 1, 1 / 3)),
        ({"CPU": 64.0, "GPU": 4.0}, 2, "cuda", 1, Slots(2, 1, 1.0)),
    ],
)
def test_slots(has, wanted, device, threads, expected):
    assert slots(has, wanted, device, threads) == expected


def test_what_a_cluster_lacks():
    with pytest.raises(UserError, match="the cluster has no GPU, but --device cuda wants one; use --device cpu"):
        slots({"CPU": 8.0}, None, "cuda", 1)
    with pytest.raises(UserError, match="has 2 CPUs, but a profile measures with 4 threads"):
        slots({"CPU": 2.0}, None, "auto", 4)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes")
def test_actors_of_one_machine_take_different_cores(tmp_path, monkeypatch):
    bound = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("erde_nas.searching.workers.cluster.usable_cores", lambda: [3, 4, 6])
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: bound.append(sorted(cores)))
    first = take_cores(2)
    second = take_cores(1)
    assert bound == [[3, 4], [6]]
    assert take_cores(1) == []
    for lock in first:
        lock.release()
    take_cores(1)
    assert bound[2:] == [[3]]
    assert len(second) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes")
@pytest.mark.parametrize("trap", ["a linked folder", "a folder of others", "a linked file"])
def test_locks_follow_no_link_that_another_user_made(trap, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("erde_nas.searching.workers.cluster.usable_cores", lambda: [3])
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: pytest.fail("bound all the same"))
    theirs, folder = tmp_path / "theirs", tmp_path / f"erde-nas-cores-{os.getuid()}"
    theirs.mkdir()
    (theirs / "file").write_text("kept")
    if trap == "a linked folder":
        folder.symlink_to(theirs)
    else:
        folder.mkdir(mode=0o700)
    if trap == "a folder of others":
        folder.chmod(0o777)
    if trap == "a linked file":
        (folder / "3").symlink_to(theirs / "file")
    assert take_cores(1) == []
    assert (theirs / "file").read_text() == "kept"
    assert [path.name for path in theirs.iterdir()] == ["file"]


@pytest.fixture
def cluster(monkeypatch) -> Iterator[Any]:
    """Two real nodes with a slot each; this process is connected to the first."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80e6})
    made.other = made.add_node(num_cpus=1, num_gpus=0, object_store_memory=80e6)
    connect(made.address)
    yield made
    disconnect()
    made.shutdown()


def toy(marks: Path, shared: dict[str, Any]):
    """Takes a moment for a candidate, and leaves a mark that says which node it ran on."""
    import ray

    total = int(shared["data"].sum())
    node = ray.get_runtime_context().get_node_id()

    def evaluate(proposal: Proposal) -> Evaluated:
        number = proposal.params["number"]
        (marks / f"{number}-{node}-{time.monotonic_ns()}").touch()
        if number == "bad":
            raise UserError("the runtime cannot run here")
        time.sleep(0.2)
        return Evaluated(Trial(0, f"s{number}", proposal.params, "complete", (float(number + total),)), bytes(300_000))

    return evaluate


@pytest.mark.extra
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_node_is_lost_and_no_candidate_with_it(cluster, tmp_path):
    shared = {"data": np.ones(1_000_000, np.uint8)}
    done: list[Evaluated] = []
    submitted = 0
    with RayPool(shared, partial(toy, tmp_path), Slots(2, 1)) as pool:
        while submitted < CANDIDATES or cluster.other is not None or pool.busy:  # until both nodes took part
            while pool.busy < pool.size and (submitted < CANDIDATES or cluster.other is not None):
                pool.submit(Proposal({"number": submitted}), f"s{submitted}")
                submitted += 1
            if (evaluated := pool.next(0.2)) is not None:
                done.append(evaluated)
            nodes = {path.name.split("-")[1] for path in tmp_path.iterdir()}
            if cluster.other is not None and len(nodes) == 2 and pool.busy == 2:
                cluster.remove_node(cluster.other, allow_graceful=False)
                cluster.other = None
        pool.submit(Proposal({"number": "bad"}), "bad")
        with pytest.raises(UserError, match=r"^the runtime cannot run here$"):
            list(iter(lambda: pool.next(60.0), None))
    assert sorted(evaluated.trial.student for evaluated in done) == sorted(f"s{n}" for n in range(submitted))
    for evaluated in done:
        assert evaluated.trial.objectives == (evaluated.trial.params["number"] + 1_000_000.0,)
        assert len(evaluated.weights) == 300_000


@pytest.mark.extra
def test_no_cluster_there():
    pytest.importorskip("ray")
    with pytest.raises(
        UserError, match=r"--cluster 127\.0\.0\.1:9: no Ray cluster answers there .* `ray start --head`"
    ):
        connect("127.0.0.1:9")


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match=r"--cluster needs the Python package 'ray': pip install 'erde-nas\[ray\]'"):
        connect("auto")
