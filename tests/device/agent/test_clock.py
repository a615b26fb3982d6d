"""Timing by ratio, and calls that something interrupts: a disturbed machine gives the numbers of one that is not."""

import os

import pytest

from erde_nas.device.agent.clock import REWARM, STREAM_BLOCK, Clock, time_exit, time_stream
from erde_nas.device.agent.run_job import pin
from erde_nas.device.agent.stopwatch import ATTEMPTS, Stopwatch


class Machine:
    """Time that passes only in calls, slower by `slow` from the call number `busy_from` on."""

    def __init__(self, busy_from=10**9, slow=7):
        self.now, self.calls, self.busy_from, self.slow = 0, 0, busy_from, slow

    def clock(self, reference):
        """A clock for blocks of five calls; all time is CPU time."""
        return Clock(reference, 5, Stopwatch(True, lambda: self.now, lambda: self.now))

    def work(self, ms, answer=None):
        def call():
            self.calls += 1
            self.now += int(ms * 1e6) * (self.slow if self.calls > self.busy_from else 1)
            return answer

        return call


@pytest.fixture
def machine():
    return Machine()


def test_blocks_alternate_with_the_reference(machine):
    watch = machine.clock(machine.work(2.0))
    assert time_exit(watch, machine.work(6.0), blocks=4) == [3.0] * 4
    assert watch.reference_ms == [2.0] * 5
    assert machine.calls == 9 * 5


@pytest.mark.parametrize("busy_from", [0, 25, 60])
def test_a_slower_machine_changes_few_ratios(machine, busy_from):
    machine.busy_from = busy_from
    watch = machine.clock(machine.work(2.0))
    ratios = time_exit(watch, machine.work(6.0), blocks=9)
    assert len(ratios) == 9
    assert sum(ratio != 3.0 for ratio in ratios) <= 1  # the block during which it slowed down


def test_an_outlier_in_a_block_does_not_count(machine):
    watch = machine.clock(machine.work(2.0))
    costs = iter([6.0, 6.0, 500.0, 6.0, 6.0])
    assert time_exit(watch, lambda: machine.work(next(costs))(), blocks=1) == [3.0]


def test_blocks_are_compared_with_the_reference_before_and_after(machine):
    """While the machine slows down steadily, a block lies halfway between its neighbours."""
    reference, costs = iter([2.0] * 5 + [4.0] * 5), [9.0] * 5
    watch = machine.clock(lambda: machine.work(next(reference))())
    assert time_exit(watch, lambda: machine.work(costs.pop())(), blocks=1) == [3.0]
    reference = iter([2.0] * 5 + [4.0] * 5)
    ratios, _ = time_stream(watch, [machine.work(9.0, (None, [0]))] * 2)
    assert ratios == [3.0, 3.0]


def test_stream_times_every_call_once_and_in_order(machine):
    watch = machine.clock(machine.work(2.0))
    costs = [1.0 + i for i in range(STREAM_BLOCK + 3)]
    calls = [machine.work(ms, (None, [i % 3])) for i, ms in enumerate(costs)]
    ratios, exits = time_stream(watch, calls)
    assert ratios == [ms / 2.0 for ms in costs]
    assert exits == [i % 3 for i in range(len(costs))]
    assert machine.calls == len(costs) + 3 * 5 + 2 * REWARM  # reference blocks before, between and after


def test_exits_of_a_batch_are_all_kept(machine):
    _, exits = time_stream(
        machine.clock(machine.work(2.0)), [machine.work(1.0, (None, [0, 2])), machine.work(1.0, (None, [1, 1]))]
    )
    assert exits == [0, 2, 1, 1]


class TrainingContext:
    """A machine on which a call loses the CPU where `lost` says so: milliseconds by call, from 0."""

    def __init__(self, lost):
        self.lost, self.wall, self.cpu, self.calls, self.switches = lost, 0, 0, 0, 0

    def call(self):
        taken, lost = 1_000_000, int(1e6 * self.lost.get(self.calls, 0))
        self.calls += 1
        self.switches += lost > 0
        self.cpu += taken
        self.wall += taken + lost
        return self.calls

    def watch(self, alone):
        return Stopwatch(alone, lambda: self.wall, lambda: self.cpu if alone else self.switches)


@pytest.mark.parametrize("alone", [True, False])
def test_an_interrupted_call_is_made_again_and_counted(alone):
    """The first call is interrupted; the second is without the clock, the third counts."""
    machine = TrainingContext({0: 6})
    watch = machine.watch(alone)
    assert watch.time(machine.call) == (1.0, 3)
    assert (watch.calls, watch.interrupted) == (2, 1)
    assert watch.time(machine.call) == (1.0, 4)
    assert (watch.calls, watch.interrupted) == (3, 1)


@pytest.mark.parametrize(("alone", "ms"), [(True, 1.0), (False, 2.0)])
def test_where_every_attempt_is_interrupted_cpu_time_counts_or_the_least_time(alone, ms):
    machine = TrainingContext({0: 9, 1: 9, 2: 1, 3: 9, 4: 5})
    watch = machine.watch(alone)
    assert watch.time(machine.call)[0] == ms
    assert (watch.calls, watch.interrupted) == (ATTEMPTS, ATTEMPTS)


def test_a_call_after_an_interruption_has_lost_its_caches_and_is_made_again():
    machine = TrainingContext({})
    watch = machine.watch(True)
    machine.wall += 3_000_000  # between two calls
    assert watch.time(machine.call) == (1.0, 3)
    assert (watch.calls, watch.interrupted) == (2, 1)


def test_a_long_call_is_not_repeated():
    machine = TrainingContext({0: 9})
    watch = machine.watch(True)

    def long():
        machine.wall += 30_000_000
        machine.cpu += 20_000_000

    assert watch.time(long) == (20.0, None)
    assert watch.calls == 1


def test_cpu_time_that_reads_a_little_less_than_the_clock_is_no_interruption():
    machine = TrainingContext({0: 0.02})
    watch = machine.watch(True)
    assert watch.time(machine.call)[0] == 1.02
    assert watch.interrupted == 0


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
