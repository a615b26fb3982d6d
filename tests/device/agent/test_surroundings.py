"""What the agent reads of the machine: contention, memory and energy, from files written here and real children."""

import os
import subprocess
import sys

import pytest

from erde_nas.device.agent import contention, energy
from erde_nas.device.agent.contention import Contention
from erde_nas.device.agent.energy import energy_counter, joules_per_call
from erde_nas.device.agent.memory import peak_memory


def stat(path, steal, others, running):
    """A /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice."""
    path.write_text(f"cpu 9 9 9 9 9 9 9 9 9 9\ncpu1 {others} 0 0 0 0 0 0 {steal} 7 0\nprocs_running {running}\n")


def test_steal_is_the_share_of_the_bound_core_since_the_beginning(monkeypatch, tmp_path):
    monkeypatch.setattr(contention, "STAT", tmp_path / "stat")
    stat(tmp_path / "stat", steal=100, others=1000, running=1)
    watched = Contention([1])
    watched.look()
    stat(tmp_path / "stat", steal=110, others=1090, running=4)
    watched.look()
    report = watched.report()
    assert report.steal == pytest.approx(0.1)
    assert report.runnable == 2.5
    assert report.cores == os.cpu_count()


def test_a_system_without_proc_reports_the_cores_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(contention, "STAT", tmp_path / "none")
    watched = Contention([])
    watched.look()
    report = watched.report()
    assert (report.cores, report.runnable, report.steal) == (os.cpu_count(), None, None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_peak_memory_is_what_a_child_held():
    """In a fresh process, as an agent is: one that has freed much would give the child what it holds already."""
    code = """
import numpy as np
from erde_nas.device.agent.memory import peak_memory
found = peak_memory(lambda: np.ones(50_000_000, np.uint8).sum())
print(found.peak - found.before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 45e6 < int(done.stdout) < 80e6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_fails_gives_no_number(capfd):
    assert peak_memory(lambda: 1 / 0) is None


def test_energy_is_counted_over_whole_rounds(monkeypatch, tmp_path):
    """Two packages; each call takes a quarter of a second and 3 joules, until a second has passed."""
    now = [0.0]
    monkeypatch.setattr(energy.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    for name, used in (("intel-rapl:0", 10), ("intel-rapl:1", 20), ("intel-rapl:0:0", 999)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(str(used * 1_000_000))

    def call():
        now[0] += 0.25
        path = tmp_path / "intel-rapl:1" / "energy_uj"
        path.write_text(str(int(path.read_text()) + 3_000_000))

    counter = energy_counter("cpu")
    assert counter() == 30.0
    assert joules_per_call(counter, [call, call, call]) == pytest.approx(3.0)
    assert now[0] == 1.5  # two rounds of three


def test_hardware_that_does_not_tell_gives_no_counter(monkeypatch, tmp_path):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert energy_counter("cpu") is None


def test_a_counter_that_ran_over_gives_no_number(monkeypatch):
    now, values = iter([0.0, 0.0, 2.0]), iter([100.0, 1.0])
    monkeypatch.setattr(energy.time, "monotonic", lambda: next(now))
    assert joules_per_call(lambda: next(values), [lambda: None]) is None
