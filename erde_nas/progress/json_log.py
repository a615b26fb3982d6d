"""Events for programs: a file with one JSON object per line. docs/guide.md lists the fields."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from erde_nas.errors import UserError
from erde_nas.progress.event import Event


class JsonLog:
    """Appends every event to a file, whole lines only, so that it may be read while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: tuple[str, ...] = ()
        self._file: TextIO | None = None

    def start(self) -> None:
        """Open the file; what stands in it stays. Raises UserError where it cannot be written."""
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from error

    def hear(self, event: Event) -> None:
        """Write its line, unless it says nothing new. Raises UserError where that fails."""
        if self._file is None or event.news == self._last:
            return
        self._last = event.news
        try:
            self._file.write(json.dumps(to_json(event)) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def stop(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # what could not be written was said
                self._file.close()

    def _refused(self, error: OSError) -> UserError:
        return UserError(f"--json-log {self._path} cannot be written: {error.strerror or error}; choose another file")


def to_json(event: Event) -> dict[str, Any]:
    """Its fields, JSON-ready; those of candidates, the teacher and the end only there."""
    left_s = None if event.left_s is None else round(event.left_s, 1)
    known: dict[str, Any] = {
        "time": event.time.isoformat(timespec="milliseconds"), "event": event.kind, "stage": event.stage,
        "share": round(event.share, 4), "left_s": left_s, "text": event.text,
    }  # fmt: skip
    found = event.candidate
    if found is not None:
        keys = () if found.state == "failed" else ("val_accuracy", "macs", "latency_ms")
        values = {key: getattr(found, key) for key in keys}
        known |= {"student": found.student, "state": found.state, "values": values}
    if event.val_accuracy is not None:
        known["values"] = {"val_accuracy": event.val_accuracy}
    if event.state:
        known["state"] = event.state
    return known
