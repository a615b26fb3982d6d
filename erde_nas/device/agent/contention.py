"""Whether something else used the machine meanwhile: runnable threads, time stolen by the hypervisor, clock rates.

Read from /proc/stat and cpufreq where the system has them; what cannot be read is absent, never guessed.
"""

import os
from pathlib import Path

from erde_nas.device.agent.job import Disturbance

STAT = Path("/proc/stat")
STEAL = 7  # position among the counters of a cpu line, see proc(5)


class Contention:
    """Looks at the machine from its creation on. Call `look` now and then, `report` in the end."""

    def __init__(self, cores: list[int]) -> None:
        self._cores = cores
        self._first = _cpu_times(cores)
        self._runnable: list[int] = []
        self._mhz: list[float] = []

    def look(self) -> None:
        """Count the runnable threads and read the clock rates."""
        for line in _lines(STAT):
            if line.startswith("procs_running"):
                self._runnable.append(int(line.split()[1]))
        for core in self._cores[:1]:
            text = _lines(Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"))
            self._mhz += [int(line) / 1000 for line in text if line.isdecimal()]

    def report(self) -> Disturbance:
        """What was seen since the creation; steal time's share is of the bound cores."""
        last = _cpu_times(self._cores)
        passed = sum(last.values()) - sum(self._first.values())
        return Disturbance(
            os.cpu_count(),
            sum(self._runnable) / len(self._runnable) if self._runnable else None,
            max(0, last["steal"] - self._first["steal"]) / passed if passed > 0 else None,
            (min(self._mhz), max(self._mhz)) if self._mhz else (),
        )


def _cpu_times(cores: list[int]) -> dict[str, int]:
    """Ticks of the given cores (all where there are none given): stolen, and all others."""
    names = {f"cpu{core}" for core in cores} or {"cpu"}
    total = {"steal": 0, "others": 0}
    for line in _lines(STAT):
        name, *counters = line.split()
        if name in names:
            values = [int(value) for value in counters[:8]]  # guest times are contained in user's
            total["steal"] += values[STEAL] if len(values) > STEAL else 0
            total["others"] += sum(values[:STEAL])
    return total


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
