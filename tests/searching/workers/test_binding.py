"""Cores and GPUs are shared out evenly, and a profile is never measured with fewer cores than it has threads."""

from itertools import chain

import pytest

from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.searching.workers.binding import VISIBLE, bindings, check_measurable, visible_gpus


@pytest.mark.parametrize(("workers", "cores"), [(1, 1), (2, 2), (2, 5), (3, 8), (8, 64), (7, 16)])
def test_every_core_belongs_to_one_worker(workers, cores):
    numbers = list(range(10, 10 + cores))
    found = bindings(workers, numbers, [])
    assert list(chain.from_iterable(binding.cores for binding in found)) == numbers
    sizes = [len(binding.cores) for binding in found]
    assert max(sizes) - min(sizes) <= 1


def test_more_workers_than_cores_take_turns():
    found = [binding.cores for binding in bindings(5, [4, 7], [])]
    assert all(len(cores) == 1 for cores in found)
    assert {sum(cores == (core,) for cores in found) for core in (4, 7)} == {2, 3}


def test_gpus_are_taken_in_turn():
    assert [binding.gpu for binding in bindings(5, range(8), ["2", "5"])] == ["2", "5", "2", "5", "2"]
    assert {binding.gpu for binding in bindings(3, range(8), [])} == {None}


@pytest.mark.parametrize(
    ("value", "names"), [(None, ["0", "1"]), ("2, 5", ["2", "5"]), ("GPU-a,GPU-b,9", ["GPU-a", "GPU-b"])]
)
def test_the_users_own_choice_of_gpus_is_kept(monkeypatch, value, names):
    if value is None:
        monkeypatch.delenv(VISIBLE, raising=False)
    else:
        monkeypatch.setenv(VISIBLE, value)
    assert visible_gpus(2) == names


def test_a_profile_needs_its_threads():
    four = HardwareProfile(name="four", threads=4)
    gpu = HardwareProfile(name="gpu", device="cuda", threads=4)
    check_measurable(4, 16, [four, gpu])
    check_measurable(16, 16, [gpu])
    with pytest.raises(
        UserError, match=r"--workers 5 leaves each worker 3 of the 16 .* profile four .* 4 threads; use --workers 4"
    ):
        check_measurable(5, 16, [gpu, four])
