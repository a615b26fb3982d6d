"""`erde-nas watch`: the report page of a run, served while it runs. Nothing in the run folder changes."""

import hashlib
import json
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path

from erde_nas.api.inputs import folder_of
from erde_nas.api.run import load_run
from erde_nas.errors import UserError
from erde_nas.files import is_locked
from erde_nas.report.page import page, waiting_page
from erde_nas.report.serve import PageServer, Shown
from erde_nas.report_data.json_records import to_json
from erde_nas.run.folder import existing_run

EVERY_S = 3.0  # at most so often a folder is looked at
IDLE = 10  # times as long as making a page took, nothing is made: latencies may be measured meanwhile
FILES = ("manifest.json", "measured.json", "pareto.json", "study.db*", "students/*/metrics.json")


def serve(folder: str | PathLike[str], *, host: str = "127.0.0.1", port: int = 0) -> PageServer:
    """A server of the run's page, for `serve_forever`; port 0 is any that is free.

    Raises UserError for a folder without a run, and where it cannot listen there.
    """
    out = folder_of(folder)
    with closing(existing_run(out)):
        return PageServer(host, port, LatestPage(out))


class LatestPage:
    """Returns a run's page, made again where the folder has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._next, self._seen = 0.0, ""
        self._shown, self._made = Shown("", ""), False

    def __call__(self) -> Shown:
        """The newest page; one of no candidate says so."""
        with self._lock:
            begin = time.monotonic()
            if begin >= self._next:
                if (seen := _state(self._folder)) != self._seen:
                    self._seen = seen if self._make() else ""
                end = time.monotonic()
                self._next = end + max(EVERY_S, IDLE * (end - begin))
            return self._shown

    def _make(self) -> bool:
        """Make the page; whether the run could be read. Where it could not, a page that there is stays."""
        try:
            report = load_run(self._folder, so_far=True).results
        except UserError as error:
            if not self._made:
                version = _digest(str(error))
                self._shown = Shown(version, waiting_page(str(error), version))
            return False
        version = _digest(json.dumps(to_json(replace(report, created=""))))
        if version != self._shown.version:
            self._shown = Shown(version, page(report, self._folder, version))
        self._made = True
        return True


def _state(folder: Path) -> str:
    """What changes with the files that a page is made from."""
    found = [str(is_locked(folder / ".lock"))]
    for path in sorted(path for pattern in FILES for path in folder.glob(pattern)):
        with suppress(OSError):  # gone meanwhile
            status = path.stat()
            found.append(f"{path} {status.st_mtime_ns} {status.st_size}")
    return _digest("\n".join(found))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
