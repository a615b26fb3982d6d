"""What the command line asks for -> which pool, and what is refused before anything takes time."""

import pytest
import torch

from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.searching.workers import cluster
from erde_nas.searching.workers.placement import Place, Placement, open_placement
from erde_nas.searching.workers.work import fitting

PROFILES = (HardwareProfile(name="two", threads=2), HardwareProfile(name="gpu", device="cuda", threads=9))


def opened(placement: Placement) -> Place:
    with open_placement(placement, PROFILES) as place:
        return place


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch):
    monkeypatch.setattr("erde_nas.searching.workers.placement.usable_cores", lambda: [0, 1, 2, 3])


def test_processes_are_refused_where_they_could_not_measure():
    assert opened(Placement()) == Place(1)
    assert opened(Placement(2)) == Place(2)
    with pytest.raises(UserError, match="--workers 3 leaves each worker 1 of the 4 usable cores, but profile two"):
        opened(Placement(3))


def test_workers_that_share_cores_are_told():
    with open_placement(Placement(5), PROFILES[1:]) as place:
        assert place.remark == "5 workers share 4 usable cores: latencies of candidates are measured beside others"


def test_a_cluster_is_left_however_it_ends(monkeypatch):
    left = []
    monkeypatch.setattr(cluster, "connect", lambda address: {"CPU": 8.0})
    monkeypatch.setattr(cluster, "disconnect", lambda: left.append(1))
    place = opened(Placement(cluster="auto"))
    assert (place.workers, place.slots) == (4, cluster.Slots(4, 2)), "as many CPUs per worker as a profile has threads"
    with pytest.raises(UserError, match="the cluster has no GPU, but --device cuda wants one"):
        opened(Placement(cluster="auto", device="cuda"))
    assert left == [1, 1]


def test_this_machine_needs_no_gpu_where_the_cluster_has_them():
    assert Placement(cluster="auto", device="cuda").own_device == "auto"
    assert Placement(device="cuda").own_device == "cuda"
    assert Placement(cluster="auto", device="cpu").own_device == "cpu"


@pytest.mark.parametrize(
    ("given", "features", "cores", "precision", "threads"),
    [("bf16", ("avx2",), 2, "fp32", 2), ("bf16", ("amx_bf16",), 8, "bf16", 4), ("fp32", ("avx2",), 1, "fp32", 1)],
)
def test_steps_are_made_as_the_worker_s_machine_can(monkeypatch, given, features, cores, precision, threads):
    monkeypatch.setattr("erde_nas.distil.training.timing_cache.cpu_features", lambda: features)
    monkeypatch.setattr("erde_nas.searching.workers.work.usable_cores", lambda: list(range(cores)))
    made = fitting(Compute(given, 4, 0.5), torch.device("cpu"))
    assert made == Compute(precision, threads, 0.5)
