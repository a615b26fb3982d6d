"""Energy counters: NVML for a GPU (Volta or newer), RAPL for a CPU package. Absent where they cannot be read.

Both count what the whole package used, what it needs when idle included.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
LEAST_S = 1.0  # RAPL counts every millisecond, NVML every 20 to 100


def energy_counter(device: str) -> Callable[[], float] | None:
    """A function that gives joules since some moment; None where the hardware does not tell."""
    return _nvml() if device == "cuda" else _rapl()


def joules_per_call(counter: Callable[[], float], calls: Sequence[Callable[[], Any]]) -> float | None:
    """Run all calls in turn for at least a second; None where the counter ran over meanwhile."""
    begin_j, begin, count = counter(), time.monotonic(), 0
    while time.monotonic() - begin < LEAST_S:
        for call in calls:
            call()
        count += len(calls)
    used = counter() - begin_j
    return used / count if used > 0 else None


def _rapl() -> Callable[[], float] | None:
    """All CPU packages together."""
    counters = [path / "energy_uj" for path in sorted(POWERCAP.glob("intel-rapl:*")) if path.name.count(":") == 1]

    def joules() -> float:
        return sum(int(counter.read_text()) for counter in counters) / 1e6

    try:
        return joules if counters and joules() > 0 else None
    except (OSError, ValueError):
        return None  # only root may read it on many systems


def _nvml() -> Callable[[], float] | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # absent, without a driver, or a GPU that does not count
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
