"""`erde_nas.measure`: a model file -> its latency under hardware profiles."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erde_nas.api.inputs import AtPoint, Profiles, folder_of, model_of, profiles_of
from erde_nas.api.progress import Progress, telling
from erde_nas.api.tables import html_table, lines_html
from erde_nas.errors import UserError
from erde_nas.progress.meter import Meter
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report.profiled import HEADERS, profile_parts, profile_table
from erde_nas.report_data.latency import Latency

if TYPE_CHECKING:
    import numpy as np

    from erde_nas.measurement.profiling import FileLatency, Ratio


@dataclass(frozen=True)
class Measurement:
    """A file under one profile. `latency` is in milliseconds per image; None where `error` says why there is none."""

    profile: str
    file: str = ""
    latency: Latency | None = None
    exit_fractions: tuple[float, ...] = ()  # of the images at each exit: of the stream, or on validation
    remarks: tuple[str, ...] = ()  # what was assumed of a file that erde-nas did not export
    caution: str = ""  # why its answers are less accurate on this machine
    ratio: "Ratio | None" = None  # of a second file: how long it takes, in units of the first
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the command line writes it in JSON."""
        if self.latency is None:
            return {"profile": self.profile, "error": self.error}
        row = {"profile": self.profile, "file": self.file, "exit_fractions": list(self.exit_fractions)}
        row |= asdict(self.latency)
        row |= {"remarks": list(self.remarks)} if self.remarks else {}
        row |= {"caution": self.caution}
        return row if self.ratio is None else row | {"ratio": asdict(self.ratio)}


class Measurements(tuple[Measurement, ...]):
    """One per profile and file."""

    @property
    def errors(self) -> tuple[str, ...]:
        """Why profiles gave no numbers; each reason once."""
        return tuple(dict.fromkeys(found.error for found in self if found.error))

    def table(self) -> str:
        """Those that were measured, as text; below, what is to be known of them."""
        return profile_table([found.to_dict() for found in self])

    def __str__(self) -> str:
        return "\n".join([self.table(), *self.errors])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells, notes = profile_parts([found.to_dict() for found in self])
        return html_table(HEADERS, cells) + lines_html([*notes, *self.errors])


def measure(
    model: str | PathLike[str] | AtPoint,
    profiles: Profiles,
    images: "str | PathLike[str] | np.ndarray | None" = None,
    *,
    compare: str | PathLike[str] | None = None,
    size: int | None = None,
    progress: Progress = False,
) -> Measurements:
    """Measure an ONNX file under hardware profiles: every exit, and the stream of the given images.

    Args:
        model: a student, which is measured at its point's thresholds; the ONNX file of one, at its own; or any ONNX
            classifier.
        profiles: one or several names, paths, dictionaries or `HardwareProfile`s.
        images: a folder of images, or an array (n, channels, height, width) uint8, to time the stream over. Without
            them, exits are timed on noise, and the mean is estimated from the shares of the exits on validation.
        compare: a second file, measured in the same processes; its record has the ratio to the first.
        size: height and width of the images, where a file leaves them open.
        progress: False is silent, True shows a meter, a function hears `(share, text)`.

    Returns:
        A record per profile and file. Where only some profiles can be measured, the others' records have an `error`.

    Raises:
        UserError: where nothing can be measured, or for a mistake in what was given.
    """
    from erde_nas.data.images import left_out
    from erde_nas.measurement.profiling import profile_files

    wanted = profiles_of(profiles)
    found_model = model_of(model)
    point = None if isinstance(found_model, Path) else (found_model.thresholds, found_model.exit_fractions)
    first = found_model if isinstance(found_model, Path) else found_model.file
    files = [first] if compare is None else [first, folder_of(compare)]
    if not (images is None or isinstance(images, str | PathLike) or hasattr(images, "dtype")):
        raise UserError("images must be a folder, or one array (n, channels, height, width) uint8")
    pixels = folder_of(images) if isinstance(images, str | PathLike) else images
    rows: list[Measurement] = []
    with telling(progress) as meter:
        if isinstance(pixels, Path) and (line := left_out(pixels)):
            meter.say(line)
        meter.plan({"measure": float(len(wanted))})
        for profile in wanted:
            heard = _progress(profile, meter)
            try:
                rows += _measured(*profile_files(files, profile, pixels, heard, size=size, point=point, say=meter.say))
            except UserError as error:
                rows.append(Measurement(profile.name, error=str(error)))
    found = Measurements(rows)
    if all(row.error for row in rows):
        raise UserError("\n".join(found.errors))
    return found


def _progress(profile: HardwareProfile, meter: Meter) -> Callable[[int], None]:
    """Hears the number of each process under a profile."""
    least = profile.measure.processes

    def progress(number: int) -> None:
        more = f"/{least}" if number <= least else ", until the intervals are narrow"
        meter.add("measure", 1 / least if number <= least else 0.0, f"{profile.name}, process {number}{more}")

    return progress


def _measured(files: Sequence["FileLatency"], ratio: "Ratio | None") -> list[Measurement]:
    """The files under one profile; the ratio belongs to the second."""
    found = [Measurement(f.profile, f.file, f.latency, f.exit_fractions, f.remarks, f.caution) for f in files]
    return found if ratio is None else [found[0], replace(found[1], ratio=ratio)]
