"""Several worker processes on this machine, each bound to its own cores and GPU (see `binding`).

A worker makes its evaluator itself and then answers one proposal after another over a pipe. A pipe that closes says
that its worker died; the others go on. Workers leave Ctrl+C to the search, and end when the search does, however that
happens. The search alone writes to the run folder, so a worker may be killed at any moment.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from erde_nas.device.python_process import kept_out
from erde_nas.errors import UserError
from erde_nas.progress.quiet import quiet_libraries
from erde_nas.searching.workers.binding import Binding
from erde_nas.searching.workers.interface import ATTEMPTS, Evaluated, Factory, died
from erde_nas.space.trial import Proposal

GRACE_S = 3.0  # for a worker to remove its temporary files before it is killed


@dataclass
class _Task:
    proposal: Proposal
    student: str
    attempts: int = 1


class _Worker:
    """The search's end of one worker."""

    def __init__(self, factory: Factory, binding: Binding) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, factory, binding), daemon=True, name="erde-nas worker"
        )
        with _without_interrupt(), kept_out():
            self.process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        self.ready = False

    def ended(self) -> str:
        """How a worker whose pipe has closed ended."""
        self.process.join(GRACE_S)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"with exit code {code}"
        return f"by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")

    def send(self, proposal: Proposal) -> None:
        """A worker that has died meanwhile is noticed when its answer is read."""
        with suppress(OSError):
            self.pipe.send(proposal)


class ProcessPool:
    """See `interface.Pool`. A worker is started when it is first needed, and again after its death."""

    def __init__(self, factory: Factory, bindings: Sequence[Binding]) -> None:
        self.size = len(bindings)
        self._factory, self._bindings = factory, bindings
        self._workers: dict[int, _Worker] = {}
        self._tasks: dict[int, _Task] = {}  # by the number of the worker that is at it

    @property
    def busy(self) -> int:
        """See `Pool.busy`."""
        return len(self._tasks)

    def submit(self, proposal: Proposal, student: str) -> None:
        """See `Pool.submit`."""
        number = next(number for number in range(self.size) if number not in self._tasks)
        self._tasks[number] = _Task(proposal, student)
        self._start(number)

    def _start(self, number: int) -> None:
        if number not in self._workers:
            self._workers[number] = _Worker(self._factory, self._bindings[number])
        self._workers[number].send(self._tasks[number].proposal)

    def next(self, timeout_s: float) -> Evaluated | None:
        """See `Pool.next`."""
        deadline = time.monotonic() + timeout_s
        while self._tasks:
            pipes = {self._workers[number].pipe: number for number in self._tasks}
            readable = wait(list(pipes), max(0.0, deadline - time.monotonic()))
            if not readable:
                return None
            for pipe in readable:
                evaluated = self._read(pipes[pipe])  # type: ignore[index]
                if evaluated is not None:
                    return evaluated
        return None

    def _read(self, number: int) -> Evaluated | None:
        """What the worker says; None where its candidate is still being evaluated."""
        worker = self._workers[number]
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(number)
        if kind == "ready":
            worker.ready = True
            return None
        if kind == "user error":
            raise UserError(content)
        if kind == "error":
            raise RuntimeError(f"in a worker process:\n{content}")
        del self._tasks[number]
        return content

    def _bury(self, number: int) -> Evaluated | None:
        """Put another worker in the place of one that died, and let it try the same candidate, unless that is over."""
        worker, task = self._workers.pop(number), self._tasks[number]
        worker.pipe.close()
        how = worker.ended()
        if task.attempts == ATTEMPTS and not worker.ready:
            raise UserError(f"a worker process died {how} while it started; free some memory or lower --workers")
        if task.attempts == ATTEMPTS:
            del self._tasks[number]
            return died(task.proposal, task.student, how)
        task.attempts += 1
        self._start(number)
        return None

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *raised: object) -> None:
        workers = list(self._workers.values())
        busy = [worker for number, worker in self._workers.items() if number in self._tasks]
        self._workers.clear()
        self._tasks.clear()
        for worker in workers:
            worker.pipe.close()  # which ends the idle ones
        for worker in busy:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """A process that is started inside never sees Ctrl+C; for this one it is put off."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: "Connection[Any, Any]", factory: Factory, binding: Binding) -> None:
    """The life of a worker: answer proposals until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    binding.apply()
    quiet_libraries()
    try:
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            evaluate = factory()
            pipe.send(("ready", None))
            while True:
                pipe.send(("done", evaluate(pipe.recv())))
    except UserError as error:
        _answer(pipe, "user error", str(error))
    except Exception:
        _answer(pipe, "error", traceback.format_exc())


def _answer(pipe: "Connection[Any, Any]", kind: str, text: str) -> None:
    with suppress(OSError):
        pipe.send((kind, text))


def _end_with_parent() -> None:
    """A search that is killed cannot stop its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
