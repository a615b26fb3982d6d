"""The agent as one file on another machine (see `measurement/agent_file.py`): describes it, or does a job.

`describe`, or `work FOLDER SECONDS` with the job's files on stdin: eight bytes with the length, then a zip archive.
Prints one line of JSON at last: a Machine, the job's Answer, or a Failure.
"""

import errno
import io
import json
import os
import sys
import tempfile
import threading
import zipfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from erde_nas.device.agent.job import Answer, Failure
from erde_nas.device.agent.refusal import short
from erde_nas.device.machine import Machine, describe_machine

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(words: list[str]) -> None:
    """Do what the words say, and say what went wrong in one line as well."""
    answer: Machine | Answer | Failure
    try:
        answer = describe() if words[0] == "describe" else receive_and_work(Path(words[1]), int(words[2]))
    except ImportError as error:
        answer = Failure("module", error.name or str(error))
    except OSError as error:
        answer = Failure("disk" if error.errno in FULL else "runtime", f"{type(error).__name__}: {error}")
    except Exception as error:  # whatever the runtime raises goes to the one who asked
        answer = Failure("runtime", short(error))
    print("\n" + json.dumps(asdict(answer)), flush=True)


def describe() -> Machine:
    """The machine, on which every job needs numpy."""
    os.environ["TMPDIR"] = str(Path(sys.argv[0]).parent)  # some runtimes leave files there
    import_module("numpy")
    return describe_machine()


def receive_and_work(folder: Path, seconds: int) -> Answer:
    """The answer to the job that stdin brings, unpacked into `folder`. After `seconds` this process is killed."""
    with zipfile.ZipFile(io.BytesIO(receive(sys.stdin.buffer))) as archive:
        archive.extractall(folder)
    end_with_connection()
    wait_for_turn()
    _kill_after(seconds)
    os.environ |= {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}  # some runtimes leave files there
    from erde_nas.device.agent.run_job import work  # needs numpy

    return work(folder)


def receive(stream: BinaryIO) -> bytes:
    """What the stream brings after its length. Raises EOFError where it ends before."""
    length = int.from_bytes(stream.read(8), "big")
    content = stream.read(length)
    if not length or len(content) < length:
        raise EOFError("the connection ended while the job was sent")
    return content


def wait_for_turn() -> None:
    """Only one agent measures at a time, whoever sent it; the system gives the turn back when the process ends.

    The lock is on the folder for temporary files itself: nothing is left behind, and every user may take it.
    """
    try:
        import fcntl

        fcntl.flock(os.open(tempfile.gettempdir(), os.O_RDONLY), fcntl.LOCK_EX)
    except (ImportError, OSError):  # a system or a file system without locks: jobs of other machines may disturb
        pass


def end_with_connection() -> None:
    """From here on, this process ends when stdin does: nobody waits for the result any more then."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def _kill_after(seconds: int) -> None:
    """By the system, because a runtime that hangs lets no Python code run."""
    import signal

    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
