"""Latency of deployable files under a hardware profile, measured in fresh processes (see `agent`).

Every time is a ratio to a fixed reference network, multiplied by the median time of that network over all processes:
ratios repeat where single timings on a busy machine do not.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from erde_nas.errors import UserError
from erde_nas.export.nest import split
from erde_nas.hardware import HardwareProfile
from erde_nas.records import Latency

PASSES = 1  # of the stream, per process


@dataclass(frozen=True)
class Deployed:
    """A file to be measured, and the operating points (thresholds in nats) at which its stream is run."""

    key: str
    path: Path
    exits: int
    operating_points: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image: (exits,) of each forced exit, and one Stream per operating point."""

    per_exit: tuple[float, ...]
    iqr_over_median: float
    streams: tuple["Stream", ...]


@dataclass(frozen=True)
class Stream:
    """Milliseconds per image over validation images in natural order; an image's time is its median over passes."""

    mean: float
    p50: float
    p95: float
    p99: float
    exit_fractions: tuple[float, ...]
    iqr_over_median: float | None  # of the passes' means; None for a single pass


def measure(
    files: Sequence[Deployed],
    profile: HardwareProfile,
    images: np.ndarray,
    *,
    processes: int,
    blocks: int | None = None,
    progress: Callable[[int], None] = lambda number: None,
) -> dict[str, Timing]:
    """Time every file in `processes` fresh processes. `images` are (n, channels, h, w) uint8 of the validation split.

    Raises UserError where the runtime cannot run the files here.
    """
    with tempfile.TemporaryDirectory(prefix="erde-nas-") as folder:
        job = _job(files, profile, images, Path(folder), blocks)
        results = []
        for number in range(processes):
            results.append(_run(job))
            progress(number + 1)
    reference_ms = float(np.median([ms for result in results for ms in result["reference_ms"]]))
    return {
        file.key: _timing(
            [result["models"][file.key] for result in results], reference_ms, profile.batch_size, file.exits
        )
        for file in files
    }


def latency_record(timing: Timing, stream: int | None, fractions: Sequence[float], profile: HardwareProfile) -> Latency:
    """The record of one operating point: `fractions` (exits,) are the validation split's share of each exit."""
    expected = float(np.dot(fractions, timing.per_exit))
    shared: dict[str, Any] = {
        "expected_mean": expected,
        "per_exit": timing.per_exit,
        "runtime": profile.runtime,
        "device": profile.device,
        "threads": profile.threads,
        "batch_size": profile.batch_size,
        "precision": profile.precision,
    }
    if stream is None:
        return Latency(None, None, None, None, source="estimated", iqr_over_median=timing.iqr_over_median, **shared)
    s = timing.streams[stream]
    return Latency(s.mean, s.p50, s.p95, s.p99, source="measured", iqr_over_median=s.iqr_over_median, **shared)


def reference_model() -> ModelProto:
    """A fixed network of three 16-channel convolutions on 16×16, the same on every machine and in every run."""
    generator = np.random.Generator(np.random.Philox(0))
    nodes, weights, name = [], [], "x"
    for number in range(3):
        weights.append(
            numpy_helper.from_array(generator.normal(0, 0.08, (16, 16, 3, 3)).astype(np.float32), f"w{number}")
        )
        nodes.append(helper.make_node("Conv", [name, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        name = f"r{number}"
    shape = [1, 16, 16, 16]
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _job(
    files: Sequence[Deployed], profile: HardwareProfile, images: np.ndarray, folder: Path, blocks: int | None
) -> Path:
    effort = profile.measure
    onnx.save(reference_model(), folder / "reference.onnx")
    count = max(effort.stream_images, 2 * profile.batch_size)
    np.save(
        folder / "images.npy",
        np.resize(images[:count], (max(profile.batch_size, min(count, len(images))), *images.shape[1:])),
    )
    models = [
        {
            "key": file.key,
            "files": [str(path) for path in _runnable(file, number, profile, folder)],
            "exits": file.exits,
            "streams": [list(point) for point in file.operating_points],
        }
        for number, file in enumerate(files)
    ]
    job = {
        "reference": str(folder / "reference.onnx"),
        "images": str(folder / "images.npy"),
        "threads": profile.threads,
        "device": profile.device,
        "batch_size": profile.batch_size,
        "warmup_calls": effort.warmup_calls,
        "calls_per_block": effort.calls_per_block,
        "blocks": blocks or effort.blocks,
        "passes": PASSES,
        "models": models,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def _runnable(file: Deployed, number: int, profile: HardwareProfile, folder: Path) -> list[Path]:
    """The nested file itself for one image at a time; its segments for batches."""
    if profile.batch_size == 1:
        return [file.path.resolve()]
    paths = []
    for position, segment in enumerate(split(onnx.load(file.path))):
        paths.append(folder / f"model{number}-segment{position}.onnx")
        onnx.save(segment, paths[-1])
    return paths


def _run(job: Path) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "erde_nas.measure.agent", str(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(
            f"measuring failed in the runtime: {reason[0]}. Run `erde-nas doctor` to see what this machine has."
        )
    return json.loads(done.stdout)


def _timing(results: Sequence[dict[str, Any]], reference_ms: float, batch_size: int, exits: int) -> Timing:
    """Pool the processes' ratios of one file."""
    scale = reference_ms / batch_size
    per_exit = [np.concatenate([result["exits"][i] for result in results]) for i in range(exits)]
    streams = []
    for number in range(len(results[0]["streams"])):
        ratios = np.concatenate([result["streams"][number]["ratios"] for result in results])  # (passes, calls)
        per_call = np.median(ratios, axis=0) * scale
        fractions = np.bincount(results[0]["streams"][number]["exit_index"], minlength=exits)
        p50, p95, p99 = np.percentile(per_call, [50, 95, 99])
        streams.append(
            Stream(
                float(per_call.mean()),
                float(p50),
                float(p95),
                float(p99),
                tuple(float(f) for f in fractions / fractions.sum()),
                _spread(ratios.mean(1)) if len(ratios) > 1 else None,
            )
        )
    return Timing(
        tuple(float(np.median(ratios) * scale) for ratios in per_exit),
        max(_spread(ratios) for ratios in per_exit),
        tuple(streams),
    )


def _spread(values: np.ndarray) -> float:
    """Interquartile range over median."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / median)
