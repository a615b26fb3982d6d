"""The final measurement of files: every operating point, in processes of their own."""

import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial

from erde_nas.measurement.failures import LeftOut, measure_each
from erde_nas.measurement.latency import Effort, Workload
from erde_nas.measurement.profile_kinds import all_kinds, measured_together
from erde_nas.measurement.statistics import Timing
from erde_nas.progress.meter import Meter
from erde_nas.results.network_files import (
    NetworkFile,
)
from erde_nas.results.timings import FinalTimings
from erde_nas.run.context import RunContext
from erde_nas.run.pace import ALLOWANCE, MEASURE


def measure_all(
    files: Sequence[NetworkFile], run: RunContext, final: FinalTimings, left_out: LeftOut, planned_s: float
) -> dict[str, dict[str, Timing]]:
    """The timings of all files by profile and key."""
    timings: dict[str, dict[str, Timing]] = {}
    groups = measured_together(run.context.profiles)
    for setting, group in groups.items():
        workloads = [file.workload for file in files if file.kind in all_kinds(group)]
        if not workloads:
            continue
        images, effort = run.context.dataset.validation.images, Effort.full(group[0])
        names = ", ".join(profile.name for profile in group)
        on_process = _Processes(run.meter, names, effort.processes, planned_s / len(groups) / effort.processes)
        timed = partial(measure_each, workloads, group[0], images, effort, left_out, on_process)
        measured = final.time_fully(_together(setting, workloads), group, workloads, timed)
        timings.update({profile.name: measured for profile in group if measured})
    return timings


def _together(setting: str, workloads: Sequence[Workload]) -> str:
    """What a measurement is of: a setting, and the operating points."""
    points = json.dumps(sorted((workload.key, workload.operating_points) for workload in workloads))
    return f"{setting} {hashlib.sha256(points.encode()).hexdigest()[:16]}"


class _Processes:
    """Tells the meter of each process of one setting that has measured; one of the least wanted is `share_s` of it."""

    def __init__(self, meter: Meter, names: str, least: int, share_s: float) -> None:
        self._meter, self._names, self._least, self._share_s = meter, names, least, share_s
        self._before = time.monotonic()

    def __call__(self, number: int) -> None:
        text, now = f"latency on {self._names}, process {number}", time.monotonic()
        if number <= self._least:
            self._meter.add(MEASURE, self._share_s, f"{text}/{self._least}")
        else:
            self._meter.add(ALLOWANCE, now - self._before, f"{text}, until the intervals are narrow")
        self._before = now
