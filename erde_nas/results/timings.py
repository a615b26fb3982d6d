"""What a final measurement has timed so far, in `timings.json` of the run folder until all of it is measured.

A device that is lost, or a runtime that refuses, leaves its profiles without numbers; the next start of the run
measures those alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from erde_nas.errors import UserError
from erde_nas.files import write_atomic
from erde_nas.measurement.timing import Timing
from erde_nas.recipe.profile import HardwareProfile

Timings = dict[str, Timing]  # by the file's key


@dataclass
class _Content:
    files: list[str]
    quick: Timings = field(default_factory=dict)  # under the first profile that a file serves
    full: dict[str, Timings] = field(default_factory=dict)  # by setting


_CONTENT = TypeAdapter(_Content)


class Ledger:
    """Timings of the given files; those of an earlier start are kept where they are of the same files."""

    def __init__(self, folder: Path, again: bool) -> None:
        self._path, self._content = folder / "timings.json", _Content([])
        self.lost: dict[str, str] = {}  # profiles without numbers, and why
        if again:
            self._path.unlink(missing_ok=True)

    @property
    def quick(self) -> Timings:
        """Brief timings, by which operating points are chosen."""
        return self._content.quick

    def open(self, files: Sequence[str]) -> None:
        """Read what is known of these files."""
        self._content = _Content(sorted(files))
        if self._path.is_file():
            known = _CONTENT.validate_json(self._path.read_bytes())
            self._content = known if known.files == self._content.files else self._content

    def time_quickly(self, group: Sequence[HardwareProfile], timed: Callable[[], Timings]) -> None:
        """Add to the brief timings what `timed` gives: nothing where the device is lost or refuses."""
        self._content.quick |= self._attempt(group, timed)

    def time_fully(self, setting: str, group: Sequence[HardwareProfile], timed: Callable[[], Timings]) -> Timings:
        """The timings under one setting, measured unless they are known or the group's device was lost; or nothing."""
        if setting not in self._content.full and group[0].name not in self.lost:
            found = self._attempt(group, timed)
            if found:
                self._content.full[setting] = found
                write_atomic(self._path, lambda temporary: temporary.write_bytes(_CONTENT.dump_json(self._content)))
        return self._content.full.get(setting, {})

    def _attempt(self, group: Sequence[HardwareProfile], timed: Callable[[], Timings]) -> Timings:
        try:
            return timed()
        except UserError as error:
            self.lost |= {profile.name: str(error) for profile in group}
            return {}

    def close(self) -> None:
        """Forget everything, unless there is something left to measure."""
        if not self.lost:
            self._path.unlink(missing_ok=True)
