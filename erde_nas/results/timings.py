"""What a final measurement has timed so far, in `timings.json` of the run folder until all of it is measured.

A device that is lost, or a runtime that refuses, leaves its profiles without numbers; the next start of the run
measures those alone. A file that is damaged, or does not fit to what is to be measured, costs no more than the time to
measure again: that is said, and nobody has to remove it by hand.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from erde_nas.device.agent.json_records import DamagedRecord, parse, read
from erde_nas.errors import UserError
from erde_nas.files import write_atomic
from erde_nas.measurement.latency import Workload
from erde_nas.measurement.statistics import Timing
from erde_nas.recipe.profile import HardwareProfile

Timings = dict[str, Timing]  # by the file's key


@dataclass
class _Content:
    files: tuple[str, ...]
    brief: dict[str, Timings] = field(default_factory=dict)  # by setting
    full: dict[str, Timings] = field(default_factory=dict)  # by setting and what was measured together


class FinalTimings:
    """Timings of the given files; those of an earlier start are kept where they are of the same files."""

    def __init__(self, folder: Path, again: bool, say: Callable[[str], None] = lambda text: None) -> None:
        self._path, self._content, self._say = folder / "timings.json", _Content(()), say
        self.lost: dict[str, str] = {}  # profiles without numbers, and why
        if again:
            self._path.unlink(missing_ok=True)

    @property
    def quick(self) -> Timings:
        """Brief timings, by which operating points are chosen: under the first setting that a file was timed in."""
        return {key: timing for timings in reversed(self._content.brief.values()) for key, timing in timings.items()}

    def brief(self, setting: str) -> Timings:
        """The brief timings under one setting."""
        return self._content.brief.get(setting, {})

    def open(self, workloads: Sequence[Workload]) -> None:
        """Read what is known of these files, and of others that are made of them by what is known; a damaged
        `timings.json` is as good as none."""
        own = {workload.key for workload in workloads}
        self._content = _Content(tuple(sorted(workload.key for workload in workloads)))
        if not self._path.is_file():
            return
        try:
            known = read(_Content, parse(self._path.read_text(errors="replace")))
            if known.files == self._content.files:
                for timings in known.brief.values():
                    self._check({key: timing for key, timing in timings.items() if key in own}, workloads)
                self._content = known
        except DamagedRecord as error:
            self._say(f"{self._path} is damaged: {error}; what it held is measured again")

    def time_quickly(self, setting: str, group: Sequence[HardwareProfile], timed: Callable[[], Timings]) -> None:
        """Add to the brief timings under a setting what `timed` gives: nothing where the device is lost or refuses."""
        if found := self._attempt(group, timed):
            self._content.brief[setting] = self.brief(setting) | found

    def time_fully(
        self,
        setting: str,
        group: Sequence[HardwareProfile],
        workloads: Collection[Workload],
        timed: Callable[[], Timings],
    ) -> Timings:
        """The timings under one setting, measured unless they are known or the group's device was lost; or nothing."""
        known = self._content.full.get(setting, {})
        try:
            self._check(known, workloads)
        except DamagedRecord as error:
            self._say(f"{self._path} does not fit: {error}; {group[0].name} is measured again")
            known = {}
        if not known and group[0].name not in self.lost:
            known = self._attempt(group, timed)
            if known:
                self._content.full[setting] = known
                text = json.dumps(asdict(self._content))
                write_atomic(self._path, lambda temporary: temporary.write_text(text))
        return known

    def _attempt(self, group: Sequence[HardwareProfile], timed: Callable[[], Timings]) -> Timings:
        try:
            return timed()
        except UserError as error:
            self.lost |= {profile.name: str(error) for profile in group}
            return {}

    @staticmethod
    def _check(timings: Mapping[str, Timing], workloads: Collection[Workload]) -> None:
        """Whether each timing is of a workload, of its exits and operating points. Raises DamagedRecord."""
        shapes = {workload.key: (workload.exits, len(workload.operating_points)) for workload in workloads}
        for key, timing in timings.items():
            if shapes.get(key) != (len(timing.per_exit), len(timing.streams)):
                raise DamagedRecord(f"the timing of {key} is not of its exits and operating points")

    def close(self) -> None:
        """Forget everything, unless there is something left to measure."""
        if not self.lost:
            self._path.unlink(missing_ok=True)
