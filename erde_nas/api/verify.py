"""`erde_nas.verify`: a shipped folder -> whether it is whole, and its numbers here beside those it brings."""

from dataclasses import asdict, dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from erde_nas.api.inputs import folder_of
from erde_nas.api.progress import Progress, telling
from erde_nas.api.tables import Records

if TYPE_CHECKING:
    from erde_nas.bundle.verify import AccuracyCheck, Checks, LatencyCheck


@dataclass(frozen=True)
class Verified:
    """One number of a shipped folder, and the same number here. Accuracies are shares, latencies in milliseconds an
    image; `same` is None for a latency, which belongs to a machine, and `here` where it could not be had (`note`)."""

    what: str
    shipped: float
    here: float | None
    same: bool | None
    note: str = ""

    def cells(self) -> dict[str, str]:
        """What a table shows of it, by column."""
        unit = "{:.2%}" if self.same is not None else "{:.4g} ms"
        verdict = {True: "same", False: "differs", None: ""}[self.same]
        return {
            "": self.what,
            "shipped": unit.format(self.shipped),
            "here": "" if self.here is None else unit.format(self.here),
            "result": self.note or verdict,
        }


@dataclass(frozen=True)
class Verification:
    """What `verify` found. Not `ok`: `problems` say which files or answers are not those that were shipped."""

    rows: Records[Verified]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs that must not: files and accuracies."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As the command line writes it in JSON."""
        return {"ok": self.ok, **asdict(self), "rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        return "\n".join([*([str(self.rows)] if self.rows else []), *self.remarks, *self.problems])

    __repr__ = __str__


def verify(
    bundle: str | PathLike[str], *, data: str | PathLike[str] | None = None, progress: Progress = False
) -> Verification:
    """Check a folder that `export` wrote: its files by their digests, its accuracy, its latency on this machine.

    Args:
        bundle: the folder.
        data: folder with the data set's official files; of a data set of your own, its folder or npz file. Without it
            the data set is looked for as in a search, and accuracy is left out where it is not here.
        progress: False is silent, True shows a meter, a function hears `(share, text)`.

    Returns:
        Every number beside the one that was shipped. Where a file is not the one that was shipped, nothing is run.

    Raises:
        UserError: for a folder that `export` did not write.
    """
    from erde_nas.bundle.verify import verify as check

    with telling(progress) as meter:
        meter.plan({"verify": 1.0})
        found = check(folder_of(bundle), None if data is None else folder_of(data), meter.say)
    rows = [*map(_accuracy, found.accuracy), *(_latency(each, found) for each in found.latency)]
    return Verification(Records(rows), found.problems, found.remarks)


def _accuracy(check: "AccuracyCheck") -> Verified:
    at = f" at {', '.join(f'{level:.4g}' for level in check.thresholds)}" if check.thresholds else ""
    what = f"{check.model}{at}: accuracy on {check.images} {check.split} images"
    return Verified(what, check.shipped, check.here, check.same)


def _latency(check: "LatencyCheck", found: "Checks") -> Verified:
    what = f"{check.model}: mean latency under {check.profile}"
    ratio = check.ratio
    note = check.reason if ratio is None else f"x{ratio:.2f} (shipped: {found.measured_on})"
    return Verified(what, check.shipped_ms, check.here_ms, None, note)
