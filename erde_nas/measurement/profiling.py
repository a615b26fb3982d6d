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
from erde_nas.measurement.latency import Effort, latency_record, measure
from erde_nas.measurement.subject import Subject, read_images, read_subject
from erde_nas.measurement.target import machine_of, obstacle
from erde_nas.measurement.timing import Timing, median_interval
from erde_nas.recipe.profile import HardwareProfile


@dataclass(frozen=True)
class Ratio:
    """How long the second file takes, in units of the first, in the same processes; 95 % interval of the median."""

    ratio: float
    interval: tuple[float, float] | None
    processes: int


def profile_files(
    models: Sequence[Path],
    profile: HardwareProfile,
    images: Path | None,
    progress: Callable[[int], None] = lambda number: None,
    *,
    size: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, Any]], Ratio | None]:
    """One row per file, the record of `records.Latency` as a dict, and the second file's ratio to the first.

    Without images the exits are timed on noise and the mean is estimated from a file's own exit shares on validation.
    All files are measured in the same processes. `size` is that of images where a file leaves it open; what was assumed
    of a file is said first. Raises UserError where one of them cannot be measured.
    """
    machine = machine_of(profile)
    if reason := obstacle(profile, machine):
        raise UserError(reason)
    with TemporaryDirectory(prefix="erde-nas-") as name:
        subjects = _read(models, Path(name), size)
        for subject in subjects:
            for remark in subject.remarks_for(profile):
                say(f"{subject.name}: {remark}")
        pixels = read_images(images, subjects[0].image_shape, profile.batch_size)
        files = [subject.deployed(profile, pixels, images is not None) for subject in subjects]
        timings = measure(files, profile, pixels, Effort.full(profile), progress)
    cautions = {subject.name: caution(subject, machine) for subject in subjects}
    for file in files:
        if (wrong := timings[file.key].disagreement) and not cautions[file.key]:
            raise UserError(f"profile '{profile.name}': {file.key}: {wrong}")
    rows = [_row(subject, timings[subject.name], profile) for subject in subjects]
    rows = [{**row, "caution": cautions[row["file"]]} for row in rows]
    pair = [_per_process(timings[subject.name], row) for subject, row in zip(subjects, rows, strict=True)]
    return rows, _ratio(pair[0], pair[1]) if len(pair) > 1 else None


def caution(subject: Subject, machine: Machine) -> str:
    """What a reader must know of a file whose sums that machine cuts off; empty where it does not."""
    if not subject.instructions or exact_int8(machine):
        return ""
    return (
        f"its answers are less accurate on {machine.cpu}: 8-bit weights are exact on {in_words(subject.instructions)} "
        "only; search or compress for this machine to get 7-bit ones"
    )


def _read(models: Sequence[Path], folder: Path, size: int | None) -> list[Subject]:
    """The files; one that leaves the size of its images open takes that of the other. Raises UserError."""
    square = None if size is None else (size, size)
    subjects = [read_subject(path, folder, square) for path in models]
    fixed = {subject.image_shape for subject in subjects if not subject.open_size}
    if size is not None and len(fixed) == len(subjects):
        raise UserError(f"--size {size} is for a file that leaves the size of its images open; leave it away")
    if size is None and len(fixed) == 1:
        ((_, height, width),) = fixed
        subjects = [s if not s.open_size else read_subject(Path(s.name), folder, (height, width)) for s in subjects]
    if len({subject.image_shape for subject in subjects}) > 1:
        both = ", ".join(f"{subject.name} takes {subject.image_shape}" for subject in subjects)
        raise UserError(f"the files cannot be compared on the same images: {both}")
    return subjects


def _row(subject: Subject, timing: Timing, profile: HardwareProfile) -> dict[str, Any]:
    stream = 0 if timing.streams else None
    fractions = subject.exit_fractions if stream is None else timing.streams[0].exit_fractions
    record = asdict(latency_record(timing, stream, fractions, profile))
    record["precision"] = subject.run_in(profile.precision)
    row = {"profile": profile.name, "file": subject.name, "exit_fractions": list(fractions), **record}
    return {**row, "remarks": list(subject.remarks_for(profile))} if subject.feed else row


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
