"""Devices elsewhere: a profile's target `ssh:HOST` described, and jobs of the agent done there.

Everything goes through `ssh` (see `ssh.py`); the agent is sent once per connection. A lost connection and a time-out
are tried once more, after waiting for a device that was there before. One candidate at a time is measured on
a device, whichever process of this machine wants it.
"""

import atexit
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from erde_nas.cache import cache_dir
from erde_nas.device.agent.job import Failure
from erde_nas.device.agent.json_records import DamagedRecord, last_object, read
from erde_nas.device.machine import Machine
from erde_nas.errors import DeviceLost, RuntimeRefused, UserError
from erde_nas.measurement.agent_file import LEAST_PYTHON, agent_file, pack
from erde_nas.measurement.ssh import NO_FOLDER, Answer, Connection

PREFIX = "ssh:"
SEND_S = 120.0  # for the agent, half a second's worth on a good line
DESCRIBE_S = 120.0  # a small device may take half a minute to import a runtime
TURN_S = 3600.0  # what agents of other machines may take before it is this one's turn
PAUSE_S = 1.0  # between two attempts to connect
BACK_S = 120.0  # for a device that was there before to come back, as after a restart
ALARM, KILLED = 128 + 14, 128 + 9  # a shell's exit codes for a command that such a signal ended
NOT_FOUND, NOT_EXECUTABLE = 127, 126

SEND = 'cat > "$1/agent.pyz"'
DESCRIBE = '"$2" "$1/agent.pyz" describe'
WORK = (
    f'umask 077; d=$(mktemp -d "$1/job.XXXXXX") || exit {NO_FOLDER}; '
    '"$2" "$1/agent.pyz" work "$d" "$3"; c=$?; rm -rf "$d"; exit $c'
)
T = TypeVar("T")


class Device:
    """One target. Connects when it is first needed."""

    def __init__(self, target: str, python: str) -> None:
        self.target = target
        self._python = python.removeprefix("~/")  # commands start in the home folder
        self._connection: Connection | None = None
        self._machine: Machine | None = None

    def describe(self) -> Machine:
        """The machine there; it is asked once."""
        if self._machine is None:
            try:
                answer = self._twice(lambda there: self._ask(there, DESCRIBE, seconds=DESCRIBE_S), patience_s=0.0)
                self._machine = read(Machine, answer)
            except DamagedRecord as error:
                raise UserError(f"{self.target}: what its agent says of that machine is damaged: {error}") from error
        return self._machine

    def run(self, folder: Path, seconds: int) -> dict[str, Any]:
        """What the agent there answers to the job in `folder`, as yet unchecked; it may take so many seconds.

        The device was there when it was described, so that it is waited for.
        """
        content = pack(folder)
        with self._alone():
            return self._twice(
                lambda there: self._ask(
                    there, WORK, str(seconds), content=content, seconds=TURN_S + seconds, limit=seconds, hold=True
                ),
                patience_s=BACK_S,
            )

    def close(self) -> None:
        """End the connection, and with it everything there."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _alone(self) -> FileLock:
        """Held while this device measures for a process of this machine; the system gives it back."""
        folder = cache_dir() / "devices"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / (re.sub(r"[^A-Za-z0-9.@-]", "_", self.target) + ".lock"))

    def _twice(self, ask: Callable[[Connection], T], patience_s: float) -> T:
        """What `ask` gives over an open connection, or over a new one, for which `patience_s` are given."""
        try:
            return self._try(ask)
        except DeviceLost:
            deadline = time.monotonic() + patience_s
        while True:
            time.sleep(PAUSE_S)
            try:
                self._connect()
            except DeviceLost:
                if time.monotonic() >= deadline:
                    raise
                continue
            return self._try(ask)

    def _try(self, ask: Callable[[Connection], T]) -> T:
        try:
            return ask(self._connect())
        except BaseException:  # what is known to go on without an answer ends with the connection, at Ctrl+C too
            self.close()
            raise

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.target.removeprefix(PREFIX))
            sent = self._connection.run(SEND, self._connection.folder, content=agent_file(), seconds=SEND_S)
            if sent.code:
                raise self._refusal(sent)
        return self._connection

    def _ask(
        self, there: Connection, text: str, *words: str, seconds: float, limit: int = 0, **how: Any
    ) -> dict[str, Any]:
        """The agent's answer.

        Raises UserError for what it says is wrong, DeviceLost where it gives none, DamagedRecord where it is no JSON.
        """
        answer = there.run(text, there.folder, self._python, *words, seconds=seconds, **how)
        if answer.code == ALARM:
            raise DeviceLost(f"{self.target}: no result within {limit} s; raise measure.timeout_s of the profile")
        if answer.code == KILLED:
            raise DeviceLost(f"{self.target}: the measurement was killed there, probably for want of memory")
        try:
            found = last_object(answer.out.decode(errors="replace"))
            failure = read(Failure, found) if "error" in found else None
        except DamagedRecord:
            if answer.code or not answer.out.strip():
                raise self._refusal(answer) from None
            raise
        if failure is not None:
            kind = RuntimeRefused if failure.error == "runtime" else UserError
            raise kind(f"{self.target}: {self._explain(failure.error, failure.text)}")
        return found

    def _explain(self, kind: str, text: str) -> str:
        """What the agent says is wrong there, and what to do."""
        if kind == "python":
            least = ".".join(map(str, LEAST_PYTHON))
            return f"{self._python} is Python {text} there, {least} or newer is needed; name another with `python`"
        if kind == "module":
            return (
                f"{self._python} cannot import {text} there; install the package {text} for it with `{self._python} -m "
                f"pip install {text}`, or name another Python with `python`"
            )
        if kind == "disk":
            return f"the disk there is full ({text}); free some space, or set TMPDIR to another folder"
        return f"measuring failed in the runtime of {self._python} there: {text}"

    def _refusal(self, answer: Answer) -> UserError:
        """An answer that is none of the agent's."""
        said = (answer.err.strip().splitlines() or [f"exit code {answer.code}"])[-1]
        if any(sign in answer.err for sign in ("No space left", "quota exceeded", "File too large")):
            return UserError(f"{self.target}: {self._explain('disk', said)}")
        if answer.code in (NOT_FOUND, NOT_EXECUTABLE):
            return UserError(
                f"{self.target}: there is no Python named {self._python} there ({said}); install it, or give the "
                "profile the path of another as `python`"
            )
        return UserError(f"{self.target}: the agent did not run there in {self._python}: {said}")


_devices: dict[tuple[str, str], Device] = {}


def device(target: str, python: str) -> Device:
    """The device of a target, connected at most once in this process."""
    return _devices.setdefault((target, python), Device(target, python))


@atexit.register
def close_all() -> None:
    """Leave all devices as they were."""
    while _devices:
        _devices.popitem()[1].close()
