"""Files measured by themselves under a hardware profile, and two of them against one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from erde_nas.device.instructions import exact_int8, in_words
from erde_nas.device.machine import Machine
from erde_nas.errors import UserError
from erde_nas.files import Scratch
from erde_nas.measurement.given_file import GivenFile, read_given_file, read_images
from erde_nas.measurement.latency import Effort, latency_record, measure
from erde_nas.measurement.statistics import Timing, median_interval
from erde_nas.measurement.target import machine_of, obstacle
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.latency import Latency

Shares = tuple[tuple[float, ...], tuple[float, ...]]  # thresholds, and what share of the images leaves at each exit


@dataclass(frozen=True)
class Ratio:
    """How long the second file takes, in units of the first, in the same processes; 95 % interval of the median."""

    ratio: float
    interval: tuple[float, float] | None
    processes: int


@dataclass(frozen=True)
class FileLatency:
    """A file under a profile. `exit_fractions` are the shares of the images at each exit: of the stream, or on
    validation; `remarks` what was assumed of a file of other makes."""

    profile: str
    file: str
    latency: Latency
    exit_fractions: tuple[float, ...]
    remarks: tuple[str, ...] = ()
    caution: str = ""  # why its answers are less accurate on this machine


def profile_files(
    models: Sequence[Path],
    profile: HardwareProfile,
    images: Path | np.ndarray | None,
    progress: Callable[[int], None] = lambda number: None,
    *,
    size: int | None = None,
    point: Shares | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[FileLatency], Ratio | None]:
    """The latency of each file, and the second file's ratio to the first.

    Without images the exits are timed on noise and the mean is estimated from a file's own exit shares on validation.
    All files are measured in the same processes. `size` is that of images where a file leaves it open; `point`: what
    the first file is measured at, instead of its own thresholds. What was assumed of a file is said first. Raises
    UserError where one of them cannot be measured.
    """
    machine = machine_of(profile)
    if reason := obstacle(profile, machine):
        raise UserError(reason)
    with Scratch() as name:
        files = _read(models, Path(name), size)
        files[0] = files[0] if point is None else files[0].at(*point)
        for file in files:
            for remark in file.remarks_for(profile):
                say(f"{file.name}: {remark}")
        pixels = read_images(images, files[0].metadata.image_shape, profile.batch_size)
        workloads = [file.workload(profile, pixels, images is not None) for file in files]
        timings = measure(workloads, profile, pixels, Effort.full(profile), progress)
    found = [_latency(file, timings[file.name], profile, machine) for file in files]
    for each in found:
        if (wrong := timings[each.file].disagreement) and not each.caution:
            raise UserError(f"profile '{profile.name}': {each.file}: {wrong}")
    pair = [_per_process(timings[each.file], each.exit_fractions) for each in found]
    return found, _ratio(pair[0], pair[1]) if len(pair) > 1 else None


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


def _latency(file: GivenFile, timing: Timing, profile: HardwareProfile, machine: Machine) -> FileLatency:
    stream = 0 if timing.streams else None
    fractions = file.metadata.exit_fractions if stream is None else timing.streams[0].exit_fractions
    latency = latency_record(timing, stream, fractions, profile)
    latency = replace(latency, precision=file.run_in(profile.precision))
    remarks = file.remarks_for(profile) if file.deployable.feed else ()
    return FileLatency(profile.name, file.name, latency, fractions, remarks, caution(file, machine))


def _per_process(timing: Timing, exit_fractions: Sequence[float]) -> np.ndarray:
    """What an image takes in each process, in units of the reference: (processes,)."""
    if timing.streams:
        return np.array([means[0] for means in timing.process_streams])
    return np.array(timing.process_exits) @ np.array(exit_fractions)


def _ratio(first: np.ndarray, second: np.ndarray) -> Ratio:
    count = min(len(first), len(second))  # the first processes measured both
    ratios = second[:count] / first[:count]
    median, around = float(np.median(ratios)), median_interval(list(ratios))
    return Ratio(median, None if around is None else (median * around[0], median * around[1]), count)
