"""Candidates on a Ray cluster (extra `ray`): one actor per GPU, or per CPU slot where no GPU is wanted.

The shared data are put into Ray's object store once; every node fetches them once, and its actors read them in place.
An actor that is lost with its node leaves its candidate to the next actor that is free, and is started again where
there is room: until then the search goes on with fewer.
"""

import logging
import math
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from erde_nas.device.machine import usable_cores
from erde_nas.errors import UserError
from erde_nas.searching.workers.core_locks import CoreLock, lock_core, locks_folder
from erde_nas.searching.workers.interface import ATTEMPTS, Evaluate, Evaluated, died
from erde_nas.space.trial import Proposal

KNOCK_S = 10


@dataclass(frozen=True)
class Slots:
    """How many actors, and what each one needs."""

    count: int
    cpus: int
    gpus: float = 0.0


@dataclass
class _Task:
    proposal: Proposal
    student: str
    attempts: int = 0


def connect(address: str) -> dict[str, float]:
    """Connect to a cluster, and what it has in all. Raises UserError."""
    try:
        import ray
    except ImportError:
        raise UserError("--cluster needs the Python package 'ray': pip install 'erde-nas[ray]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report what runs here to its makers
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"--cluster {address}: no Ray cluster answers there ({reason}); start one with `ray start --head`, or "
            "correct the address"
        ) from error
    return ray.cluster_resources()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at host:port: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


def disconnect() -> None:
    """The end of `connect`."""
    import ray

    ray.shutdown()


def slots(has: dict[str, float], wanted: int | None, device: str, threads: int) -> Slots:
    """At most `wanted` actors, or as many as fit. `threads`: of the profiles, for which an actor has as many CPUs.

    Raises UserError where `device` is cuda and the cluster has no GPU, or too few CPUs for one actor.
    """
    gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 0))
    if device == "cuda" and not gpus:
        raise UserError(
            "the cluster has no GPU, but --device cuda wants one; use --device cpu, or add a node with GPUs"
        )
    if cpus < threads:
        raise UserError(f"the cluster has {cpus} CPUs, but a profile measures with {threads} threads; add a node")
    if device == "cpu" or not gpus:
        return Slots(min(wanted or cpus, cpus // threads), threads)
    sharing = math.ceil((wanted or gpus) / gpus)
    return Slots(min(wanted or gpus, cpus // threads), threads, 1 / sharing)


class RayPool:
    """See `interface.Pool`. Connect first."""

    def __init__(self, shared: Any, make: Callable[[Any], Evaluate], needs: Slots) -> None:
        import ray

        self._ray: Any = ray
        self.size, self._needs, self._make = needs.count, needs, make
        self._shared = ray.put(shared)
        self._starting: dict[Any, Any] = {}  # actors by the reference that says that they are ready
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, _Task]] = {}  # by the reference of the answer
        self._waiting: list[_Task] = []
        for _ in range(self.size):
            self._start()

    def _start(self) -> None:
        remote = self._ray.remote(num_cpus=self._needs.cpus, num_gpus=self._needs.gpus, max_restarts=0)(_Actor)
        actor = remote.remote(self._make, self._shared, self._needs.cpus)
        self._starting[actor.ready.remote()] = actor

    @property
    def busy(self) -> int:
        """See `Pool.busy`."""
        return len(self._running) + len(self._waiting)

    def submit(self, proposal: Proposal, student: str) -> None:
        """See `Pool.submit`."""
        self._waiting.append(_Task(proposal, student))
        self._assign()

    def _assign(self) -> None:
        while self._idle and self._waiting:
            actor, task = self._idle.pop(), self._waiting.pop(0)
            task.attempts += 1
            self._running[actor.evaluate.remote(task.proposal)] = (actor, task)

    def next(self, timeout_s: float) -> Evaluated | None:
        """See `Pool.next`."""
        while self.busy:
            done, _ = self._ray.wait([*self._running, *self._starting], num_returns=1, timeout=timeout_s)
            if not done:
                return None
            evaluated = self._read(done[0])
            self._assign()
            if evaluated is not None:
                return evaluated
        return None

    def _read(self, reference: Any) -> Evaluated | None:
        task = None
        if reference in self._starting:
            actor = self._starting.pop(reference)
        else:
            actor, task = self._running.pop(reference)
        try:
            kind, content = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:
            raise  # an error in this program
        except self._ray.exceptions.RayError as error:
            return self._bury(task, error)
        if kind == "user error":
            raise UserError(content)
        if kind == "error":
            raise RuntimeError(f"on the cluster:\n{content}")
        self._idle.append(actor)
        return content

    def _bury(self, task: _Task | None, error: Exception) -> Evaluated | None:
        """Ask for another actor in place of a lost one; its candidate is the next to be tried, unless that is over."""
        self._start()
        if task is None:
            return None
        if task.attempts == ATTEMPTS:
            return died(task.proposal, task.student, f"with {type(error).__name__}")
        self._waiting.insert(0, task)
        return None

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *raised: object) -> None:
        for actor in [*self._starting.values(), *self._idle, *(actor for actor, _ in self._running.values())]:
            self._ray.kill(actor)
        self._starting, self._idle, self._running, self._waiting = {}, [], {}, []


class _Actor:
    """The worker's end: makes its evaluator from the shared data, and answers."""

    def __init__(self, make: Callable[[Any], Evaluate], shared: Any, cores: int) -> None:
        warnings.simplefilter("ignore")
        self._locks = take_cores(cores)
        self._prepared = _outcome(lambda: make(shared))

    def ready(self) -> tuple[str, Any]:
        """Whether it can evaluate."""
        kind, content = self._prepared
        return (kind, None) if kind == "done" else (kind, content)

    def evaluate(self, proposal: Proposal) -> tuple[str, Any]:
        """("done", Evaluated), or what went wrong."""
        return _outcome(lambda: self._prepared[1](proposal))


def _outcome(work: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "done", work()
    except UserError as error:
        return "user error", str(error)
    except Exception:
        return "error", traceback.format_exc()


def take_cores(count: int) -> list[CoreLock]:
    """Bind this process to `count` cores that no other actor on this machine has, for as long as it holds the locks.

    Ray counts CPUs but binds nothing, and a latency must be measured on a core of its own. Where too few are free, or
    there is no folder for locks that is this user's alone, the process stays unbound.
    """
    folder = locks_folder() if hasattr(os, "sched_setaffinity") else None
    taken: dict[int, CoreLock] = {}
    for core in usable_cores() if folder is not None else ():
        if folder is not None and (lock := lock_core(folder, core)):
            taken[core] = lock
        if len(taken) == count:
            os.sched_setaffinity(0, taken)
            return list(taken.values())
    for lock in taken.values():
        lock.release()
    return []
