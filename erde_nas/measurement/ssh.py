"""A connection to another machine through the system's own `ssh`, with the user's configuration and known host keys.

One connection serves all commands (OpenSSH's connection sharing). While it lasts there is a folder there that goes
away with it, however it ends: a shell there waits for the end of its input, and then removes the folder.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from erde_nas.errors import DeviceLost, UserError
from erde_nas.files import Scratch

CONFIG = "ERDE_NAS_SSH_CONFIG"  # environment variable: another file than ~/.ssh/config
CONNECT_S = 15
ALIVE_S = 10  # three unanswered questions at this distance end a connection
GRACE_S = 5.0
LOST = 255  # ssh's own exit code
MARK = b"erde-nas-folder "
NO_FOLDER = 90  # exit code of the scripts below

# The folder's name holds the process that keeps it: folders of dead ones, after a power cut, are removed here.
KEEP = (
    'umask 077; t=${TMPDIR:-/tmp}; for d in "$t"/erde-nas-agent.*.*; do p=${d##*/erde-nas-agent.}; '
    'kill -0 "${p%%.*}" 2>/dev/null || rm -rf "$d"; done; '
    f'd=$(mktemp -d "$t/erde-nas-agent.$$.XXXXXX") || exit {NO_FOLDER}; '
    'trap "rm -rf \\"$d\\"" EXIT; trap "exit 0" HUP INT TERM; echo "erde-nas-folder $d"; cat >/dev/null'
)

OPTIONS = (
    *("BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={CONNECT_S}", "LogLevel=ERROR"),
    *(f"ServerAliveInterval={ALIVE_S}", "ServerAliveCountMax=3", "ControlPersist=no"),
    *("RemoteCommand=none", "ClearAllForwardings=yes", "PermitLocalCommand=no"),
)

# What ssh says, whether waiting may help, and the user's next step.
COMPLAINTS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        False,
        "its host key is not the known one; if the device was set up anew, `ssh-keygen -R` with its address forgets "
        "the old key, then connect once by hand",
    ),
    (
        "Host key verification failed",
        False,
        "its host key is not known here; connect once by hand with `{ssh} {host}` and compare the key",
    ),
    (
        "Permission denied",
        False,
        "it does not accept your key; ssh-copy-id brings it there, IdentityFile in {config} names one, and a key with "
        "a passphrase must be in ssh-agent",
    ),
    (
        "Could not resolve hostname",
        True,
        "its name is not known; correct `target`, or add a Host {host} with its HostName to {config}",
    ),
    ("onfiguration option", False, "correct {config}"),
    ("refused", True, "nothing listens there; start its SSH server, or correct the port"),
    ("", True, "see that it is on, and that `{ssh} {host}` reaches it"),
)


@dataclass(frozen=True)
class Answer:
    """How a command there ended."""

    code: int
    out: bytes
    err: str


def own_config() -> str | None:
    """The file that the user wants in place of ~/.ssh/config. Raises UserError where it is not there."""
    own = os.environ.get(CONFIG)
    if own and not Path(own).is_file():
        raise UserError(f"{CONFIG} names {own}, which does not exist; correct or unset that variable")
    return own or None


def command(host: str, socket: Path, *options: str) -> list[str]:
    """`ssh` with everything that it must ask nobody and leave nothing behind."""
    own = own_config()
    given = [word for option in (*OPTIONS, *options) for word in ("-o", option)]
    return ["ssh", *(("-F", own) if own else ()), "-T", "-a", "-x", "-S", str(socket), *given, "--", host]


def script(text: str, *words: str) -> str:
    """A command for the login shell there, whichever it is: sh runs `text` with the words as $1, $2..."""
    return " ".join(map(shlex.quote, ("sh", "-c", text, "sh", *words)))


class Connection:
    """An open connection; `folder` is the folder there. Raises DeviceLost or UserError where there can be none."""

    def __init__(self, host: str) -> None:
        self._host = host
        if shutil.which("ssh") is None:
            raise UserError("a profile with target ssh: needs the program ssh; install OpenSSH's client")
        own_config()  # where it is not there, nothing is left behind
        self._here = Scratch(dir=_short_folder())
        self._socket = Path(self._here.name) / "socket"
        self._log = (Path(self._here.name) / "log").open("w+b")
        options = ("ControlMaster=yes",)
        self._keeper = _start([*command(host, self._socket, *options), script(KEEP)], self._log)
        try:
            assert self._keeper.stdout is not None
            with _killed_after(CONNECT_S + 2 * GRACE_S, self._keeper):
                greeting = iter(self._keeper.stdout.readline, b"")  # a shell there may say more than it is asked
                marked = next((line for line in greeting if line.startswith(MARK)), MARK)
            self.folder = marked.removeprefix(MARK).decode(errors="replace").strip()
            if not self.folder:
                self._refused()
        except BaseException:
            self.close()
            raise

    def run(self, text: str, *words: str, content: bytes = b"", seconds: float, hold: bool = False) -> Answer:
        """Run a shell script there with `content` as its input, which ends there, or goes on until the answer (`hold`).

        Raises DeviceLost where the connection ends or no answer comes in time.
        """
        shared = command(self._host, self._socket, "ControlMaster=no", "ProxyCommand=false")  # no connection but it
        with tempfile.TemporaryFile() as log:
            process = _start([*shared, script(text, *words)], log)
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                with _killed_after(seconds, process) as late:
                    with suppress(OSError):  # whoever does not read to the end says why
                        _write(process.stdin, content)
                        if not hold:
                            process.stdin.close()
                    out = process.stdout.read()
                    code = process.wait()
            finally:
                _end(process)
            err = _read(log)
        if late():
            raise DeviceLost(f"ssh:{self._host}: no answer within {seconds:.0f} s")
        if code == LOST or code < 0:
            raise DeviceLost(f"ssh:{self._host}: the connection was cut ({_last(err)})")
        return Answer(code, out, err)

    def close(self) -> None:
        """End the connection, after which the folder there is removed."""
        _end(self._keeper, GRACE_S)
        self._log.close()
        self._here.cleanup()

    def _refused(self) -> None:
        """Raises what is known of a connection that did not come about."""
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(GRACE_S)
        said = _read(self._log)
        if self._keeper.returncode == NO_FOLDER:
            raise UserError(f"ssh:{self._host}: no temporary folder can be made there: {_last(said)}; free some space")
        for sign, passing, advice in COMPLAINTS:
            if sign in said:
                own = own_config()
                words = {"host": self._host, "config": own or "~/.ssh/config", "ssh": f"ssh -F {own}" if own else "ssh"}
                text = f"ssh:{self._host} cannot be reached ({_last(said)}): {advice.format(**words)}"
                raise DeviceLost(text) if passing else UserError(text)


def _start(words: Sequence[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """In a session of its own: Ctrl+C is for this program, which then ends its connections."""
    environment = {**os.environ, "LC_ALL": "C"}  # its complaints are read
    pipe = subprocess.PIPE
    return subprocess.Popen(words, 0, stdin=pipe, stdout=pipe, stderr=log, env=environment, start_new_session=True)


def _write(pipe: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[pipe.write(rest) :]


def _end(process: "subprocess.Popen[bytes]", grace_s: float = 0.0) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    process.kill()
    process.wait()


class _killed_after:
    """Kill a process unless the block ends before; gives a function that says whether that happened."""

    def __init__(self, seconds: float, process: "subprocess.Popen[bytes]") -> None:
        self._late = False
        self._process = process
        self._timer = threading.Timer(seconds, self._kill)
        self._timer.daemon = True

    def _kill(self) -> None:
        self._late = True
        self._process.kill()

    def __enter__(self) -> Callable[[], bool]:
        self._timer.start()
        return lambda: self._late

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()


def _short_folder() -> str | None:
    """A socket's path may have no more than about a hundred characters."""
    return "/tmp" if len(tempfile.gettempdir()) > 40 else None


def _read(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "ssh ended without a word"
