"""The agent's job: pinned to its cores, time the exits and the streams of every student, and say how the machine was.

Job: {runtime, threads, device, provider, batch_size, reference: [file...], reference_shape: (channels, h, w), images,
      warmup_calls, calls_per_block, blocks, passes, memory: bool, answers: images of which every exit's logits are
      wanted, models: [{key, precision, files, exits, streams: [[threshold...]...]}]}
      Files are named relative to the job's folder.
Result: {versions: {package: version}, cores, contention, reference_ms: [...],
         models: {key: {exits: [[ratio per block]...], memory: {before, peak} bytes or null,
                        logits: float32 (exits, images, classes) in base64 or null,
                        interrupted: {calls: timed, the reference's included, interrupted: how many of them},
                        streams: [{ratios: [[per call]...] (passes, calls), exit_index, joules: per call or null}]}}}
"""

import base64
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.device.agent.clock import Clock, time_exit, time_stream
from erde_nas.device.agent.contention import Contention
from erde_nas.device.agent.energy import energy_counter, joules_per_call
from erde_nas.device.agent.memory import peak_memory
from erde_nas.device.agent.refusal import Refused, short
from erde_nas.device.agent.stopwatch import Stopwatch
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.foreign import answered, fed
from erde_nas.device.runtimes.interface import Runner, Setting

Job = dict[str, Any]


def pin(threads: int) -> list[int]:
    """Bind this process to its last `threads` usable cores (the first ones take most interrupts)."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


def forced(number: int, exits: int) -> np.ndarray:
    """Thresholds with which every image leaves at exit `number`."""
    return np.array([math.inf if i == number else -1.0 for i in range(exits - 1)], np.float32)


class Agent:
    """A job at work."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.runtime = runtime(job["runtime"])
        images = np.load(folder / job["images"])
        size = job["batch_size"]
        self.batches = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]

    def load(self, files: Sequence[str], precision: str) -> Runner:
        """A runner for files of the job."""
        setting = Setting(
            self.job["device"], self.job["threads"], precision, self.job["batch_size"], self.job["provider"]
        )
        return self.runtime.load([str(self.folder / file) for file in files], setting)

    def do(self, cores: list[int]) -> dict[str, Any]:
        """The result of the whole job."""
        job = self.job
        memory = {m["key"]: peak_memory(partial(self._try, m)) for m in job["models"]} if job["memory"] else {}
        reference, contention = self.load(job["reference"], "fp32"), Contention(cores)
        x = np.zeros((job["batch_size"], *job["reference_shape"]), np.uint8)
        watch = Stopwatch(alone=job["threads"] == 1 and job["device"] == "cpu")
        call = partial(reference.run, x, np.empty(0, np.float32))
        clock = Clock(call, job["calls_per_block"], watch, contention.look)
        clock.block(clock.reference, job["warmup_calls"])
        models = {m["key"]: {**self._named(m, clock), "memory": memory.get(m["key"])} for m in job["models"]}
        return {
            "versions": self.runtime.versions(),
            "cores": cores,
            "contention": contention.report(),
            "reference_ms": clock.reference_ms,
            "models": models,
        }

    def _try(self, model: Job) -> None:
        """Load a student and leave at every exit once."""
        runner = self.load(model["files"], model["precision"])
        images = fed(runner, self.batches[0])
        for number in range(model["exits"]):
            runner.run(images, forced(number, model["exits"]))

    def _named(self, model: Job, clock: Clock) -> dict[str, Any]:
        """As `_measure`. What the runtime raises names the file."""
        try:
            return self._measure(model, clock)
        except (ImportError, OSError):  # the machine's fault
            raise
        except Exception as error:
            raise Refused(f"{model['key']}: {short(error)}") from error

    def _measure(self, model: Job, clock: Clock) -> dict[str, Any]:
        """Force every exit, then run the stream at each of the model's operating points."""
        job, runner, exits = self.job, self.load(model["files"], model["precision"]), []
        timed, interrupted = clock.watch.calls, clock.watch.interrupted
        batches = [fed(runner, images) for images in (self.batches if model["streams"] else self.batches[:1])]
        for number in range(model["exits"]):
            call = partial(runner.run, batches[0], forced(number, model["exits"]))
            clock.block(call, job["warmup_calls"])
            exits.append(time_exit(clock, call, job["blocks"]))
        streams, counter = [], energy_counter(job["device"]) if job["memory"] else None
        for thresholds in model["streams"]:
            levels = np.array(thresholds, np.float32)
            calls: list[Callable[[], Any]] = [partial(runner.run, batch, levels) for batch in batches]
            passes = [time_stream(clock, calls) for _ in range(job["passes"])]
            joules = None if counter is None else joules_per_call(counter, calls)
            ratios = [ratios for ratios, _ in passes]
            streams.append({"ratios": ratios, "exit_index": passes[0][1], "joules": joules})
        counts = {"calls": clock.watch.calls - timed, "interrupted": clock.watch.interrupted - interrupted}
        return {"exits": exits, "streams": streams, "interrupted": counts, "logits": self._answers(model, runner)}

    def _answers(self, model: Job, runner: Runner) -> str | None:
        """The logits of every exit for the first images of the job, whole batches of them; None where there are none,
        or where a classifier of other makes gives nothing that can be compared."""
        batches = self.batches[: self.job["answers"] // self.job["batch_size"]]
        if not batches:
            return None
        levels = [forced(number, model["exits"]) for number in range(model["exits"])]
        found = [[answered(runner, batch, level) for batch in batches] for level in levels]
        parts = [[part for part in of if part is not None] for of in found]
        if any(len(of) < len(batches) for of in parts) or len({part.shape[1:] for of in parts for part in of}) > 1:
            return None
        answers = np.stack([np.concatenate(of) for of in parts])
        return base64.b64encode(answers.astype("<f4").tobytes()).decode()


def main(path: str) -> None:
    """Do the job in the file at `path` and print the result."""
    job = json.loads(Path(path).read_text())
    cores = pin(job["threads"])
    sys.stdout.write("\n" + json.dumps(Agent(job, Path(path).parent).do(cores)))
