"""Timing by ratio: a machine that slows down in the middle gives the numbers of one that does not."""

import os

import pytest

from erde_nas.agent import clock
from erde_nas.agent.clock import REWARM, STREAM_BLOCK, Clock, time_exit, time_stream
from erde_nas.agent.work import pin


class Machine:
    """Time that passes only in calls, slower by `slow` from the call number `busy_from` on."""

    def __init__(self, busy_from=10**9, slow=7):
        self.now, self.calls, self.busy_from, self.slow = 0, 0, busy_from, slow

    def work(self, ms, answer=None):
        def call():
            self.calls += 1
            self.now += int(ms * 1e6) * (self.slow if self.calls > self.busy_from else 1)
            return answer

        return call


@pytest.fixture
def machine(monkeypatch):
    steady = Machine()
    monkeypatch.setattr(clock.time, "perf_counter_ns", lambda: steady.now)
    return steady


def test_blocks_alternate_with_the_reference(machine):
    watch = Clock(machine.work(2.0), calls_per_block=5)
    assert time_exit(watch, machine.work(6.0), blocks=4) == [3.0] * 4
    assert watch.reference_ms == [2.0] * 5
    assert machine.calls == 9 * 5


@pytest.mark.parametrize("busy_from", [0, 25, 60])
def test_a_slower_machine_changes_few_ratios(machine, busy_from):
    machine.busy_from = busy_from
    watch = Clock(machine.work(2.0), calls_per_block=5)
    ratios = time_exit(watch, machine.work(6.0), blocks=9)
    assert len(ratios) == 9
    assert sum(ratio != 3.0 for ratio in ratios) <= 1  # the block during which it slowed down


def test_an_outlier_in_a_block_does_not_count(machine):
    watch = Clock(machine.work(2.0), calls_per_block=5)
    costs = iter([6.0, 6.0, 500.0, 6.0, 6.0])
    assert time_exit(watch, lambda: machine.work(next(costs))(), blocks=1) == [3.0]


def test_blocks_are_compared_with_the_reference_before_and_after(machine):
    """While the machine slows down steadily, a block lies halfway between its neighbours."""
    reference, costs = iter([2.0] * 5 + [4.0] * 5), [9.0] * 5
    watch = Clock(lambda: machine.work(next(reference))(), calls_per_block=5)
    assert time_exit(watch, lambda: machine.work(costs.pop())(), blocks=1) == [3.0]
    reference = iter([2.0] * 5 + [4.0] * 5)
    ratios, _ = time_stream(watch, [machine.work(9.0, (None, [0]))] * 2)
    assert ratios == [3.0, 3.0]


def test_stream_times_every_call_once_and_in_order(machine):
    watch = Clock(machine.work(2.0), calls_per_block=5)
    costs = [1.0 + i for i in range(STREAM_BLOCK + 3)]
    calls = [machine.work(ms, (None, [i % 3])) for i, ms in enumerate(costs)]
    ratios, exits = time_stream(watch, calls)
    assert ratios == [ms / 2.0 for ms in costs]
    assert exits == [i % 3 for i in range(len(costs))]
    assert machine.calls == len(costs) + 3 * 5 + 2 * REWARM  # reference blocks before, between and after


def test_exits_of_a_batch_are_all_kept(machine):
    _, exits = time_stream(
        Clock(machine.work(2.0), 5), [machine.work(1.0, (None, [0, 2])), machine.work(1.0, (None, [1, 1]))]
    )
    assert exits == [0, 2, 1, 1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to cores")
@pytest.mark.parametrize(("threads", "cores"), [(1, [7]), (2, [5, 7]), (9, [1, 5, 7])])
def test_a_process_is_bound_to_its_last_cores(monkeypatch, threads, cores):
    bound = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 1, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: bound.extend(cores))
    assert pin(threads) == cores
    assert bound == cores


def test_a_system_that_cannot_bind_goes_on_without(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert pin(1) == []
