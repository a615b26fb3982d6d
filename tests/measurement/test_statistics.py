"""Intervals over processes, against the binomial distribution; what is said about a disturbed machine."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from erde_nas.device.agent.job import Disturbance, Interruptions, PeakMemory, StreamTimes, Times
from erde_nas.measurement.statistics import contention_text, median_interval, narrow, pool


@pytest.mark.parametrize("count", [6, 9, 14])
def test_the_interval_holds_the_median_as_often_as_it_says(count):
    """Order statistics i and n-1-i hold the median unless fewer than i+1 values lie on one side."""
    values = [float(v) for v in range(1, count + 1)]
    low, high = (end * np.median(values) for end in median_interval(values))
    below = int(low) - 1  # values below the interval
    assert int(high) == count - below
    assert 1 - 2 * binom.cdf(below, count, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(below + 1, count, 0.5) < 0.95 or below == 0


def test_five_processes_give_no_interval():
    assert median_interval([1.0] * 5) is None


def test_one_disturbed_process_does_not_widen_the_interval_of_nine():
    assert median_interval([1.0] * 8 + [5.0]) == (1.0, 1.0)


def process(stream_mean, exits=(1.0, 2.0)):
    stream = StreamTimes([[stream_mean] * 4], [0, 1, 1, 1], joules=0.006)
    return Times([[cost] * 3 for cost in exits], (stream,), Interruptions(200, 50), PeakMemory(before=100, peak=350))


def test_narrow_looks_at_every_stream():
    steady = [process(1.0 + 0.001 * i) for i in range(6)]
    assert narrow(steady, 0.02)
    assert not narrow(steady[:5], 0.02)
    assert not narrow([*steady[:5], process(1.1)], 0.02)


def test_without_a_stream_the_exits_count():
    def without(cost):
        return replace(process(1.0, (1.0, cost)), streams=())

    assert narrow([without(2.0)] * 6, 0.02)
    assert not narrow([without(2.0)] * 5 + [without(2.2)], 0.02)


def test_pooled_by_hand():
    """The reference takes 4 ms for a batch of 2; six processes whose stream means differ."""
    timing = pool([process(1.0 + 0.1 * i) for i in range(6)], 4.0, 2, 2)
    (stream,) = timing.streams
    assert stream.mean == pytest.approx(1.25 * 2)
    assert stream.interval == pytest.approx((1.0 * 2, 1.5 * 2))
    assert stream.energy_mj == pytest.approx(3.0)  # 6 mJ a call of two images
    assert timing.memory_bytes == 250
    assert timing.interrupted == 0.25
    assert timing.process_exits == ((1.0, 2.0),) * 6
    assert list(itertools.chain(*timing.process_streams)) == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ([{"cores": 2, "runnable": 1.4, "steal": 0.002, "mhz": [3000, 3100]}], ""),
        ([{"cores": 2}], ""),
        ([{"cores": 2, "runnable": 2.0}, {"cores": 2, "runnable": 3.0}], "2.5 runnable threads on 2 cores"),
        ([{"cores": 2, "steal": 0.0}, {"cores": 2, "steal": 0.1}], "5% of the time stolen by the hypervisor"),
        ([{"cores": 2, "mhz": [1200, 3000]}], "the clock went from 1200 to 3000 MHz"),
    ],
)
def test_what_disturbed_the_measurement_is_said(reports, said):
    assert contention_text([Disturbance(**report) for report in reports]) == said
