"""Measurements on a simulated machine that others use, too: ratios of means stay those of the quiet machine.

The oracle is the mean of the costs that the calls were given. Nothing here is timed: the clocks are simulated.
"""

from functools import cache

import numpy as np
import pytest

from erde_nas.device.agent.clock import Clock, time_stream
from erde_nas.device.agent.job import Interruptions, StreamTimes, Times
from erde_nas.device.agent.stopwatch import Stopwatch
from erde_nas.measurement.statistics import pool

REFERENCE_MS = 0.05
IMAGES = 128
PROCESSES = 6


class Machine:
    """One core. After about `slice_ms` of work, `others` processes have the core for as long each; sometimes for much
    longer. A call that goes on after that is slower at first: it has lost its caches. `hidden` is the share of calls
    that take several times as long without a sign of it in the CPU time, as where a hypervisor steals time."""

    def __init__(self, seed, others, hidden=0.0, slice_ms=3.0):
        self.random = np.random.default_rng(seed)
        self.wall = self.cpu = 0.0
        self.others, self.hidden, self.slice_ms = others, hidden, slice_ms
        self.left = slice_ms * self.random.random()

    def call(self, ms, answer=None):
        def run():
            taken = ms * self.random.normal(1.0, 0.02)
            if self.random.random() < self.hidden:
                taken += 0.2 + self.random.pareto(1.5)
            while self.others and taken > self.left:
                self._work(self.left)
                taken += 0.05 * self.random.random() - self.left
                self.wall += sum(self.slice_ms * (0.3 + self.random.pareto(2.0)) for _ in range(self.others))
                self.left = self.slice_ms * (0.2 + self.random.random())
            self._work(taken)
            self.left -= taken
            return answer

        return run

    def _work(self, ms):
        self.wall += ms
        self.cpu += ms

    def clock(self):
        watch = Stopwatch(True, lambda: round(1e6 * self.wall), lambda: round(1e6 * self.cpu))
        return Clock(self.call(REFERENCE_MS), 10, watch)


@cache
def timing(costs, others, hidden=0.0):
    """A stream of calls with these costs in milliseconds, as the agent and `pool` time it."""
    found = []
    for seed in range(PROCESSES):
        machine = Machine(seed, others, hidden)
        clock = machine.clock()
        ratios, exits = time_stream(clock, [machine.call(ms, (None, [0])) for ms in costs])
        counts = Interruptions(clock.watch.calls, clock.watch.interrupted)
        found.append(Times([[1.0]], (StreamTimes([ratios], exits),), counts))
    return pool(found, REFERENCE_MS, 1, 1)


TEACHERS = {"short": (0.32,) * IMAGES, "longer than a slice": (7.0,) * IMAGES}
STUDENT = tuple(np.random.default_rng(9).choice([0.02, 0.03, 0.09], IMAGES, p=[0.6, 0.3, 0.1]))


@pytest.mark.parametrize("kind", TEACHERS)
@pytest.mark.parametrize("teacher_others", [0, 1, 2, 5])
@pytest.mark.parametrize("student_others", [0, 1, 2, 5])
def test_the_ratio_is_within_5_percent_of_the_quiet_one(kind, teacher_others, student_others):
    teacher, student = timing(TEACHERS[kind], teacher_others), timing(STUDENT, student_others)
    found = teacher.streams[0].mean / student.streams[0].mean
    assert found == pytest.approx(np.mean(TEACHERS[kind]) / np.mean(STUDENT), rel=0.05)


@pytest.mark.parametrize("others", [0, 2])
def test_interruptions_that_cpu_time_does_not_show(others):
    teacher, student = timing(TEACHERS["short"], others, 0.1), timing(STUDENT, others)
    found = teacher.streams[0].mean / student.streams[0].mean
    assert found == pytest.approx(np.mean(TEACHERS["short"]) / np.mean(STUDENT), rel=0.05)
    low, high = teacher.streams[0].interval
    assert high / low < 1.12


def test_percentiles_are_those_of_the_costs_and_not_of_other_processes():
    stream = timing(STUDENT, 2).streams[0]
    for value, percentile in ((stream.p50, 50), (stream.p95, 95), (stream.p99, 99)):
        assert value == pytest.approx(np.percentile(STUDENT, percentile), rel=0.06)


def test_a_cost_that_every_process_finds_is_kept_however_rare():
    costs = (*[0.03] * (IMAGES - 2), 3.0, 3.0)
    assert timing(costs, 2).streams[0].mean == pytest.approx(np.mean(costs), rel=0.05)


def test_how_many_calls_were_interrupted():
    assert timing(STUDENT, 0).interrupted == 0
    assert 0 < timing(STUDENT, 2).interrupted < 0.1
    assert timing(TEACHERS["longer than a slice"], 2).interrupted > 0.5


def test_without_these_measures_the_same_load_decides_the_ratio():
    """The simulated load is one that plain means and medians over six processes do not stand."""
    machines = [Machine(seed, 2) for seed in range(PROCESSES)]
    plain = []
    for machine in machines:
        times = []
        for ms in TEACHERS["short"]:
            begin = machine.wall
            machine.call(ms)()
            times.append(machine.wall - begin)
        plain.append(times)
    assert np.mean(plain) > 1.5 * 0.32
    assert np.median(plain, axis=0).mean() > 1.05 * 0.32
