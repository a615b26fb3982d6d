"""Files measured by themselves under a hardware profile, and two of them against one another."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from erde_nas.device.instructions import exact_int8, in_words
from erde_nas.device.machine import Machine
from erde_nas.errors import UserError
from erde_nas.measurement.given_file import GivenFile, read_given_file, read_images
from erde_nas.measurement.latency import Effort, latency_record, measure
from erde_nas.measurement.target import machine_of, obstacle
from erde_nas.measurement.timing import Timing, median_interval
from erde_nas.recipe.profile import HardwareProfile

Shares = tuple[tuple[float, ...], tuple[float, ...]]  # thresholds, and what share of the images leaves at each exit


@dataclass(frozen=True)
class Ratio:
    """How long the second file takes, in units of the first, in the same processes; 95 % interval of the median."""

    ratio: float
    interval: tuple[float, float] | None
    processes: int


def profile_files(
    models: Sequence[Path],
    profile: HardwareProfile,
    images: Path | np.ndarray | None,
    progress: Callable[[int], None] = lambda number: None,
    *,
    size: int | None = None,
    point: Shares | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, Any]], Ratio | None]:
    """One row per file, the record of `records.Latency` as a dict, and the second file's ratio to the first.

    Without images the exits are timed on noise and the mean is estimated from a file's own exit shares on validation.
    All files are measured in the same processes. `size` is that of images where a file leaves it open; `point`: what
    the first file is measured at, instead of its own thresholds. What was assumed of a file is said first. Raises
    UserError where one of them cannot be measured.
    """
    machine = machine_of(profile)
    if reason := obstacle(profile, machine):
        raise UserError(reason)
    with TemporaryDirectory(prefix="erde-nas-") as name:
        files = _read(models, Path(name), size)
        files[0] = files[0] if point is None else files[0].at(*point)
        for file in files:
            for remark in file.remarks_for(profile):
                say(f"{file.name}: {remark}")
        pixels = read_images(images, files[0].metadata.image_shape, profile.batch_size)
        workloads = [file.workload(profile, pixels, images is not None) for file in files]
        timings = measure(workloads, profile, pixels, Effort.full(profile), progress)
    cautions = {file.name: caution(file, machine) for file in files}
    for file in files:
        if (wrong := timings[file.name].disagreement) and not cautions[file.name]:
            raise UserError(f"profile '{profile.name}': {file.name}: {wrong}")
    rows = [_row(file, timings[file.name], profile) for file in files]
    rows = [{**row, "caution": cautions[row["file"]]} for row in rows]
    pair = [_per_process(timings[file.name], row) for file, row in zip(files, rows, strict=True)]
    return rows, _ratio(pair[0], pair[1]) if len(pair) > 1 else None


def caution(file: GivenFile, machine: Machine) -> str:
    """What a reader must know of a file whose sums that machine cuts off; empty where it does not."""
    if not file.metadata.instructions or exact_int8(machine):
        return ""
    needed = in_words(file.metadata.instructions)
    return (
        f"its answers are less accurate on {machine.cpu}: 8-bit weights are exact on {needed} only; "
        " search or compress for this machine to get 7-bit ones"
    )


def _read(models: Sequence[Path], folder: Path, size: int | None) -> list[GivenFile]:
    """The files; one that leaves the size of its images open takes that of the other. Raises UserError."""
    square = None if size is None else (size, size)
    files = [read_given_file(path, folder, square) for path in models]
    fixed = {file.metadata.image_shape for file in files if not file.open_size}
    if size is not None and len(fixed) == len(files):
        raise UserError(f"--size {size} is for a file that leaves the size of its images open; leave it away")
    if size is None and len(fixed) == 1:
        ((_, height, width),) = fixed
        files = [f if not f.open_size else read_given_file(Path(f.name), folder, (height, width)) for f in files]
    if len({file.metadata.image_shape for file in files}) > 1:
        both = ", ".join(f"{file.name} takes {file.metadata.image_shape}" for file in files)
        raise UserError(f"the files cannot be compared on the same images: {both}")
    return files


def _row(file: GivenFile, timing: Timing, profile: HardwareProfile) -> dict[str, Any]:
    stream = 0 if timing.streams else None
    fractions = file.metadata.exit_fractions if stream is None else timing.streams[0].exit_fractions
    record = asdict(latency_record(timing, stream, fractions, profile))
    record["precision"] = file.run_in(profile.precision)
    row = {"profile": profile.name, "file": file.name, "exit_fractions": list(fractions), **record}
    return {**row, "remarks": list(file.remarks_for(profile))} if file.deployable.feed else row


def _per_process(timing: Timing, row: dict[str, Any]) -> np.ndarray:
    """What an image takes in each process, in units of the reference: (processes,)."""
    if timing.streams:
        return np.array([means[0] for means in timing.process_streams])
    return np.array(timing.process_exits) @ np.array(row["exit_fractions"])


def _ratio(first: np.ndarray, second: np.ndarray) -> Ratio:
    count = min(len(first), len(second))  # the first processes measured both
    ratios = second[:count] / first[:count]
    median, around = float(np.median(ratios)), median_interval(list(ratios))
    return Ratio(median, None if around is None else (median * around[0], median * around[1]), count)
