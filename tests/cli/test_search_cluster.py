"""erde-nas search --cluster on two real Ray nodes, one of which is killed in the middle."""

import json
import threading
import time

import pytest


@pytest.mark.extra
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("finished")  # its teacher is in the cache
def test_a_search_outlives_a_node(cli, tiny, tmp_path, calibrated, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    monkeypatch.setattr("erde_nas.pipeline.measure_run", lambda *_: None)
    quick = tiny.variant(tmp_path / "a", "prune: [0.5]", "prune: []").variant(tmp_path / "b", "int8", "fp32")
    out = tmp_path / "run"
    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80e6}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    other, address = cluster.add_node(**node), cluster.address

    def kill() -> None:
        while len(list(out.glob("students/*/weights.safetensors"))) < 2:
            time.sleep(0.05)
        cluster.remove_node(other, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        done = cli(*quick.search(out, "--cluster", address, "--trials", "6"))
        killer.join(60)
        assert not killer.is_alive()
    finally:
        cluster.shutdown()
    assert done.code == 0, done.err
    assert f"2 workers on the cluster {address}" in done.err
    rows = json.loads((out / "pareto.json").read_text())["searched"]
    assert len({row["student"] for row in rows}) == len(rows) == 6
    assert {row["state"] for row in rows} == {"complete"}
    assert all((out / "students" / row["student"] / "weights.safetensors").is_file() for row in rows)
