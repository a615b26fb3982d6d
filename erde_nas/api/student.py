"""A student of a run at one of its operating points: what it does, and what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from erde_nas.api.inputs import folder_of, texts_of
from erde_nas.api.predict import Answers, Images, predict
from erde_nas.api.tables import Records, table_html, table_text
from erde_nas.errors import UserError
from erde_nas.progress.quiet import quiet
from erde_nas.report.points import ROLE_NAMES
from erde_nas.report_data.file_of import file_of
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, known, significant, uncertainty


@dataclass(frozen=True, repr=False)
class Student:
    """A student at one operating point: `point` holds all that is known of it, `folder` is that of its run, and
    `results` the run's report."""

    folder: Path
    results: Report
    point: Point

    @property
    def name(self) -> str:
        """Its id in the run."""
        return self.point.student

    @property
    def stage(self) -> str:
        """searched, finished, pruned or quantized."""
        return self.point.stage

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of every exit but the last: an image leaves where its score by the recipe's exit rule is below."""
        return self.point.thresholds

    @property
    def exit_fractions(self) -> tuple[float, ...]:
        """The share of the validation images that leaves at each exit."""
        return self.point.exit_fractions

    @property
    def val_accuracy(self) -> float:
        """Share of the validation images that it gets right."""
        return self.point.val_accuracy

    @property
    def test_accuracy(self) -> float | None:
        """Share of the test images that it gets right; None where it was not finished."""
        return self.point.test_accuracy

    @property
    def file(self) -> Path:
        """Its ONNX file. Raises UserError where it has none: a candidate that was searched, but not finished."""
        if self.point.file is None:
            raise UserError(
                f"{self.folder} has no deployable file of '{self.name}'; "
                f"`erde-nas compress {self.folder} --student {self.name}` makes one"
            )
        return file_of(self.folder, self.point)

    def latency(self, profile: str | None = None) -> Latency:
        """Its latency in milliseconds per image under a profile of the run, measured or estimated as `source` says.

        Raises UserError where it has none there, or several profiles would do.
        """
        name = profile_name(self.folder, self.results, profile)
        if name not in self.point.latency_ms:
            raise UserError(f"'{self.name}' was not measured under {name}, only {', '.join(self.point.latency_ms)}")
        return self.point.latency_ms[name]

    def predict(self, images: Images, *, resize: bool = False) -> Answers:
        """Classify images at this point's thresholds; see `erde_nas.predict`."""
        return predict(self, images, resize=resize)

    def export(self, folder: str | PathLike[str], *, formats: Sequence[str] = ()) -> list[Path]:
        """Write the folder to ship, with all of the student's files and points; see `erde_nas.export`."""
        return write_student(self.folder, self.results, self.name, folder, formats)

    def cells(self) -> dict[str, str]:
        """What a table shows of it, by column. ~ marks an estimated latency, ! one that is in doubt."""
        point = self.point
        role = {} if point.role == "student" else {"role": ROLE_NAMES[point.role]}
        named = {"student": point.student, "stage": point.stage} | role
        test = "" if point.test_accuracy is None else f"{point.test_accuracy:.1%}"
        latency = {f"ms {name}": _shown(found) for name, found in point.latency_ms.items()}
        return {
            **named,
            "thresholds": ", ".join(map(significant, point.thresholds)),
            "validation": f"{point.val_accuracy:.1%}",
            "test": test,
            **latency,
            "M MACs": "" if point.macs is None else significant(point.macs / 1e6),
            "kB": "" if point.size_bytes is None else significant(point.size_bytes / 1e3),
        }

    def __str__(self) -> str:
        return table_text([self])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_html([self])


Students: TypeAlias = Records[Student]


def _shown(latency: Latency) -> str:
    """The mean with the digits that are known of it."""
    if latency.mean is None:
        return f"~{significant(latency.expected_mean)}"
    return known(latency.mean, uncertainty(latency)) + ("!" if doubts(latency) else "")


def profile_name(folder: Path, results: Report, name: str | None = None) -> str:
    """`name`, or the run's only profile. Raises UserError where several would do, or none has that name."""
    names = list(results.profiles)
    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        raise UserError(f"{folder} has several profiles; say which one: {', '.join(names)}")
    if name not in names:
        raise UserError(f"{folder} has no profile '{name}'; it has {', '.join(names)}")
    return name


def write_student(
    run: Path, results: Report, student: str, folder: str | PathLike[str], formats: Sequence[str] = ()
) -> list[Path]:
    """Write the folder to ship; see `erde_nas.export`."""
    with quiet():
        from erde_nas.bundle.measured_student import find_student
        from erde_nas.bundle.write import write_bundle

        return write_bundle(find_student(run, student, results), folder_of(folder), texts_of(formats))
