"""The agent's job: pinned to its cores, time exits and streams of every deployable, and say how the machine was.

See `job.py` for what comes in and what goes out.
"""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.device.agent.clock import Clock, time_exit, time_stream
from erde_nas.device.agent.contention import Contention
from erde_nas.device.agent.energy import energy_counter, joules_per_call
from erde_nas.device.agent.job import Answer, Interruptions, Job, StreamTimes, Timed, Times, read_job
from erde_nas.device.agent.json_records import DamagedRecord
from erde_nas.device.agent.memory import peak_memory
from erde_nas.device.agent.refusal import short
from erde_nas.device.agent.stopwatch import Stopwatch
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.feed import answered, fed
from erde_nas.device.runtimes.interface import Runner, Setting, forced
from erde_nas.errors import RuntimeRefused


def pin(threads: int) -> list[int]:
    """Bind this process to its last `threads` usable cores (the first ones take most interrupts)."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


class Agent:
    """A job at work."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.runtime = runtime(job.runtime)
        images, size = np.load(folder / job.images), job.batch_size
        self.batches = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
        if len(self.batches) != job.calls:
            raise DamagedRecord(f"the job needs {job.calls} batches of {size}, but there are {len(images)} images")

    def load(self, files: Sequence[str], precision: str, exit_rule: str) -> Runner:
        """A runner for files of the job."""
        job = self.job
        setting = Setting(job.device, job.threads, precision, job.batch_size, job.provider, exit_rule)
        return self.runtime.load([str(self.folder / file) for file in files], setting)

    def do(self, cores: list[int]) -> Answer:
        """The answer to the whole job."""
        job = self.job
        memory = {model.key: peak_memory(partial(self._try, model)) for model in job.models} if job.memory else {}
        reference, contention = self.load(job.reference, "fp32", "entropy"), Contention(cores)
        x = np.zeros((job.batch_size, *job.reference_shape), np.uint8)
        watch = Stopwatch(alone=job.threads == 1 and job.device == "cpu")
        clock = Clock(partial(reference.run, x, np.empty(0, np.float32)), job.calls_per_block, watch, contention.look)
        clock.block(clock.reference, job.warmup_calls)
        models = {model.key: replace(self._named(model, clock), memory=memory.get(model.key)) for model in job.models}
        return Answer(self.runtime.versions(), contention.report(), tuple(clock.reference_ms), models)

    def _try(self, model: Timed) -> None:
        """Load a student and leave at every exit once."""
        runner = self.load(model.files, model.precision, model.exit_rule)
        images = fed(runner, self.batches[0])
        for number in range(model.exits):
            runner.run(images, forced(number, model.exits))

    def _named(self, model: Timed, clock: Clock) -> Times:
        """As `_measure`. What the runtime raises names the file."""
        try:
            return self._measure(model, clock)
        except (ImportError, OSError):  # the machine's fault
            raise
        except Exception as error:
            raise RuntimeRefused(f"{model.key}: {short(error)}") from error

    def _measure(self, model: Timed, clock: Clock) -> Times:
        """Force every exit, then run the stream at each of the model's operating points."""
        job, runner, exits = self.job, self.load(model.files, model.precision, model.exit_rule), []
        timed, interrupted = clock.watch.calls, clock.watch.interrupted
        batches = [fed(runner, images) for images in (self.batches if model.streams else self.batches[:1])]
        for number in range(model.exits):
            call = partial(runner.run, batches[0], forced(number, model.exits))
            clock.block(call, job.warmup_calls)
            exits.append(tuple(time_exit(clock, call, job.blocks)))
        streams, counter = [], energy_counter(job.device) if job.memory else None
        for thresholds in model.streams:
            levels = np.array(thresholds, np.float32)
            calls: list[Callable[[], Any]] = [partial(runner.run, batch, levels) for batch in batches]
            passes = [time_stream(clock, calls) for _ in range(job.passes)]
            joules = None if counter is None else joules_per_call(counter, calls)
            streams.append(StreamTimes(tuple(tuple(ratios) for ratios, _ in passes), tuple(passes[0][1]), joules))
        counts = Interruptions(clock.watch.calls - timed, clock.watch.interrupted - interrupted)
        return Times(tuple(exits), tuple(streams), counts, logits=self._answers(model, runner))

    def _answers(self, model: Timed, runner: Runner) -> str | None:
        """The logits of every exit for the first images of the job, whole batches of them; None where there are none,
        or where a classifier of other makes gives nothing that can be compared."""
        batches = self.batches[: self.job.answers // self.job.batch_size]
        if not batches:
            return None
        levels = [forced(number, model.exits) for number in range(model.exits)]
        found = [[answered(runner, batch, level) for batch in batches] for level in levels]
        parts = [[part for part in of if part is not None] for of in found]
        if any(len(of) < len(batches) for of in parts) or len({part.shape[1:] for of in parts for part in of}) > 1:
            return None
        answers = np.stack([np.concatenate(of) for of in parts])
        return base64.b64encode(answers.astype("<f4").tobytes()).decode()


def work(folder: Path) -> Answer:
    """Do the job that lies in `folder`. Raises DamagedRecord, and whatever the runtime raises."""
    job = read_job(folder)
    cores = pin(job.threads)
    return Agent(job, folder).do(cores)
