"""Latency of deployable files under a hardware profile, measured in fresh processes (see `erde_nas.device.agent`).

Every time is a ratio to a fixed reference network, multiplied by the median time of that network over all processes:
ratios repeat where single timings on a busy machine do not. Processes are added until the intervals are narrow.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.device.agent.job import Answer, Disturbance, Job, Timed, Times
from erde_nas.device.agent.json_records import Threshold
from erde_nas.device.agent.refusal import short
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting
from erde_nas.errors import RuntimeRefused, UserError
from erde_nas.files import Scratch
from erde_nas.measurement.agreement import disagreement
from erde_nas.measurement.reference import IMAGE_SHAPE, write_reference
from erde_nas.measurement.statistics import Timing, contention_text, narrow, pool
from erde_nas.measurement.target import run_here, run_there
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.uncertainty import MOST_INTERRUPTED

PASSES = 1  # of the stream, per process
CHECKED_IMAGES = 256  # whose logits in the runtime are compared with those expected


@dataclass(frozen=True)
class Workload:
    """What is timed of a deployable: each of its exits, and its stream at the operating points (thresholds).

    `precision` is what it is calculated in, `expected` the logits (exits, n, classes) of the images that the measuring
    is given; where they are, the runtime must answer like that.
    """

    key: str
    deployable: DeployableFile
    exits: int
    operating_points: tuple[tuple[float, ...], ...] = ()
    precision: str = "fp32"
    expected: np.ndarray | None = None


@dataclass(frozen=True)
class Effort:
    """How much is measured: at least `processes`, then more until every 95 % interval is within ±`interval` of its
    median or `allowance_s` are spent on the additional ones. `thorough`: memory, energy and answers as well.
    `reference_ms`: what the reference takes, where that is known better than a few processes find out."""

    processes: int
    blocks: int
    interval: float | None = None
    allowance_s: float = 0.0
    thorough: bool = False
    reference_ms: float | None = None

    @staticmethod
    def full(profile: HardwareProfile) -> "Effort":
        """What a report's numbers rest on."""
        e = profile.measure
        return Effort(e.processes, e.blocks, e.interval, e.allowance_s, thorough=True)


def measure(
    workloads: Sequence[Workload],
    profile: HardwareProfile,
    images: np.ndarray,
    effort: Effort,
    progress: Callable[[int], None] = lambda number: None,
) -> dict[str, Timing]:
    """Time every workload in fresh processes. `images` are (n, channels, h, w) uint8 of the validation split.

    Raises UserError where the runtime cannot run the files here.
    """
    with Scratch() as folder:
        run = partial(run_there if profile.elsewhere else run_here, profile)
        job = _write_job(workloads, profile, images, Path(folder), effort)
        found = _run_processes(job, effort, progress, lambda job: run(job, folder=Path(folder)))
    reference_ms = effort.reference_ms or float(np.median(found.reference_ms))
    contention = contention_text(found.contention)

    def timing(workload: Workload) -> Timing:
        reports = found.files[workload.key]
        pooled = pool(reports, reference_ms, profile.batch_size, workload.exits)
        wide = effort.interval is not None and not narrow(reports, effort.interval)
        return replace(
            pooled,
            noisy=wide or (pooled.interrupted or 0.0) > MOST_INTERRUPTED,
            contention=contention,
            reference_ms=reference_ms,
            versions=found.versions,
            disagreement=disagreement(reports[0].logits, workload.expected, workload.precision),
        )

    return {workload.key: timing(workload) for workload in workloads}


@dataclass
class _Reports:
    """What the processes reported so far."""

    files: dict[str, list[Times]]
    reference_ms: list[float] = field(default_factory=list)
    contention: list[Disturbance] = field(default_factory=list)
    versions: str = ""


def _run_processes(
    job: Job, effort: Effort, progress: Callable[[int], None], work: Callable[[Job], Answer]
) -> _Reports:
    """Let `work` do the job in the wanted processes, and what is not narrow by then in more, while the allowance
    lasts."""
    found = _Reports({model.key: [] for model in job.models})
    number, deadline = 0, math.inf
    while job.models and time.monotonic() < deadline:
        answer = work(job)
        number += 1
        found.reference_ms += answer.reference_ms
        found.contention.append(answer.contention)
        found.versions = ", ".join(f"{name} {version}" for name, version in answer.versions.items())
        for key, times in answer.models.items():
            found.files[key].append(times)
        progress(number)
        if number == effort.processes:
            deadline = time.monotonic() + effort.allowance_s
        done = number >= effort.processes
        job = job.once_more([key for key in answer.models if not (done and _settled(found.files[key], effort))])
    return found


def _settled(reports: Sequence[Times], effort: Effort) -> bool:
    return effort.interval is None or narrow(reports, effort.interval)


def _write_job(
    workloads: Sequence[Workload], profile: HardwareProfile, images: np.ndarray, folder: Path, effort: Effort
) -> Job:
    """Write everything that the agent reads into `folder`; the job names it relative to that."""
    count = max(profile.measure.stream_images, 2 * profile.batch_size)
    kept = max(profile.batch_size, min(count, len(images)))
    np.save(folder / "images.npy", np.resize(images[:count], (kept, *images.shape[1:])))
    reference = write_reference(folder / "reference.onnx")
    return Job(
        profile.runtime,
        profile.threads,
        profile.device,
        profile.provider,
        profile.batch_size,
        images="images.npy",
        calls=kept // profile.batch_size,
        reference=_prepared(reference, "fp32", profile, folder, "reference"),
        reference_shape=IMAGE_SHAPE,
        warmup_calls=profile.measure.warmup_calls,
        calls_per_block=profile.measure.calls_per_block,
        blocks=effort.blocks,
        passes=PASSES,
        memory=effort.thorough,
        answers=CHECKED_IMAGES if effort.thorough else 0,
        models=tuple(
            Timed(
                workload.key,
                workload.precision,
                _prepared(workload.deployable, workload.precision, profile, folder, f"model{number}"),
                workload.exits,
                tuple(tuple(map(Threshold, point)) for point in workload.operating_points),
                workload.deployable.exit_rule,
            )
            for number, workload in enumerate(workloads)
        ),
    )


def _prepared(
    deployable: DeployableFile, precision: str, profile: HardwareProfile, folder: Path, name: str
) -> tuple[str, ...]:
    """The files that the profile's runtime makes of a deployable, in the folder `name` of `folder`."""
    setting = Setting(profile.device, profile.threads, precision, profile.batch_size, profile.provider)
    (folder / name).mkdir()
    try:
        paths = runtime(profile.runtime).prepare(deployable, setting, folder / name)
    except (UserError, OSError):
        raise
    except Exception as error:  # whatever the runtime raises
        raise RuntimeRefused(f"{profile.runtime} cannot prepare {deployable.file.name}: {short(error)}") from error
    return tuple(str(path.relative_to(folder)) for path in paths)


def latency_record(timing: Timing, stream: int | None, fractions: Sequence[float], profile: HardwareProfile) -> Latency:
    """The record of one operating point: `fractions` (exits,) are the validation split's share of each exit."""
    context: dict[str, Any] = {
        "expected_mean": float(np.dot(fractions, timing.per_exit)),
        "per_exit": timing.per_exit,
        "runtime": profile.runtime,
        "device": profile.device,
        "threads": profile.threads,
        "batch_size": profile.batch_size,
        "precision": profile.precision,
        "noisy": timing.noisy,
        "interrupted": timing.interrupted,
        "memory_bytes": timing.memory_bytes,
        "versions": timing.versions,
        "note": timing.contention,
    }
    if stream is None:
        return Latency(None, None, None, None, source="estimated", iqr_over_median=timing.iqr_over_median, **context)
    s = timing.streams[stream]
    return Latency(
        s.mean,
        s.p50,
        s.p95,
        s.p99,
        source="measured",
        iqr_over_median=s.iqr_over_median,
        interval=s.interval,
        energy_mj=s.energy_mj,
        **context,
    )
