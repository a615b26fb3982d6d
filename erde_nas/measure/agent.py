"""A process of its own, pinned to its cores: python -m erde_nas.measure.agent JOB.json, result as JSON on stdout.

Times are taken in blocks that alternate with blocks of a reference model, and every block is given as a ratio to its
neighbouring reference blocks: what slows the machine down slows both. Needs numpy and onnxruntime alone.

Job: {reference, images, threads, device, batch_size, warmup_calls, calls_per_block, blocks, passes,
      models: [{key, files, exits, streams: [[threshold...]...]}]}
Result: {onnxruntime, cores, reference_ms: [...], models: {key: {exits: [[ratio per block]...],
         streams: [{ratios: [[per call]...] (passes, calls), exit_index: [...]}]}}}
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime

from erde_nas.measure.runtime import CompactingModel, NestedModel, open_session

STREAM_BLOCK = 16  # calls of a stream between two reference blocks


def pin(threads: int) -> list[int]:
    """Bind this process to its last `threads` usable cores (the first ones take most interrupts)."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


class Clock:
    """Times calls and, between them, the reference model."""

    def __init__(self, reference: Callable[[], Any], calls_per_block: int) -> None:
        self.reference, self.calls = reference, calls_per_block
        self.reference_ms: list[float] = []

    def block(self, call: Callable[[], Any], calls: int) -> list[float]:
        """Milliseconds of each of `calls` calls."""
        times = []
        for _ in range(calls):
            begin = time.perf_counter_ns()
            call()
            times.append((time.perf_counter_ns() - begin) / 1e6)
        return times

    def reference_block(self) -> float:
        """The median of one block of the reference model, in milliseconds."""
        median = float(np.median(self.block(self.reference, self.calls)))
        self.reference_ms.append(median)
        return median


def time_exit(clock: Clock, call: Callable[[], Any], blocks: int) -> list[float]:
    """Median of each block relative to the mean of the reference blocks before and after it."""
    ratios, before = [], clock.reference_block()
    for _ in range(blocks):
        median = float(np.median(clock.block(call, clock.calls)))
        after = clock.reference_block()
        ratios.append(median / ((before + after) / 2))
        before = after
    return ratios


def time_stream(clock: Clock, calls: Sequence[Callable[[], Any]]) -> tuple[list[float], list[int]]:
    """Each call once, in order: its time relative to the neighbouring reference blocks, and the exits it gave."""
    ratios: list[float] = []
    exits: list[int] = []
    before = clock.reference_block()
    for start in range(0, len(calls), STREAM_BLOCK):
        times = []
        for call in calls[start : start + STREAM_BLOCK]:
            begin = time.perf_counter_ns()
            _, exit_index = call()
            times.append((time.perf_counter_ns() - begin) / 1e6)
            exits.extend(int(e) for e in exit_index)
        after = clock.reference_block()
        ratios.extend(t / ((before + after) / 2) for t in times)
        before = after
    return ratios, exits


def measure_model(job: dict[str, Any], model: dict[str, Any], images: np.ndarray, clock: Clock) -> dict[str, Any]:
    """Force every exit, then run the stream at each of the model's operating points."""
    sessions = [open_session(path, threads=job["threads"], device=job["device"]) for path in model["files"]]
    runner = NestedModel(sessions[0]) if job["batch_size"] == 1 else CompactingModel(sessions)
    size = job["batch_size"]
    batches = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]

    def call(batch: np.ndarray, thresholds: Sequence[float]) -> Callable[[], Any]:
        array = np.array(thresholds, np.float32)
        return lambda: runner.run(batch, array)

    exits = []
    for number in range(model["exits"]):
        forced = call(batches[0], [math.inf if i == number else -1.0 for i in range(model["exits"] - 1)])
        clock.block(forced, job["warmup_calls"])
        exits.append(time_exit(clock, forced, job["blocks"]))
    streams = []
    for thresholds in model["streams"]:
        calls = [call(batch, thresholds) for batch in batches]
        passes = [time_stream(clock, calls) for _ in range(job["passes"])]
        streams.append({"ratios": [ratios for ratios, _ in passes], "exit_index": passes[0][1]})
    return {"exits": exits, "streams": streams}


def main(path: str) -> None:
    """Do the job in the file at `path` and print the result."""
    with open(path) as file:
        job = json.load(file)
    cores = pin(job["threads"])
    images = np.load(job["images"])
    reference = open_session(job["reference"], threads=job["threads"], device=job["device"])
    x = np.zeros([d for d in reference.get_inputs()[0].shape], np.float32)
    clock = Clock(lambda: reference.run(None, {"x": x}), job["calls_per_block"])
    clock.block(clock.reference, job["warmup_calls"])
    models = {model["key"]: measure_model(job, model, images, clock) for model in job["models"]}
    json.dump(
        {
            "onnxruntime": onnxruntime.__version__,
            "cores": cores,
            "reference_ms": clock.reference_ms,
            "models": models,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(sys.argv[1])
