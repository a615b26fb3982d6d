"""What stands behind a report's points: answers on test, curves on validation, and how a student came to be.

Reports of earlier versions have none of it; whoever shows it does without.
"""

from dataclasses import dataclass

Example = tuple[int, int, int]  # the place of a test image, its class, the answer
Bin = tuple[int, float, int]  # images, their mean confidence, how many of them were answered rightly


@dataclass(frozen=True)
class TestAnswers:
    """What became of the test images at an operating point.

    `left` counts the images that left at each exit, `right` those among them that were answered rightly. `class_right`
    counts the right ones of each class, `confusion[true][answered]` all; both are empty where there are many classes.
    `calibration` has, for each exit, the images that left there in bins of their confidence, a tenth wide, empty bins
    left out. `examples` are, for each exit, the first few images that left there and were answered rightly, then the
    first few that were not.
    """

    __test__ = False  # no class of tests, whatever pytest makes of its name

    left: tuple[int, ...]
    right: tuple[int, ...]
    class_right: tuple[int, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: tuple[tuple[Bin, ...], ...] = ()
    examples: tuple[tuple[Example, ...], ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """A point of a file's curve on validation: a threshold for each exit but the last, the share leaving at each."""

    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_accuracy: float


@dataclass(frozen=True)
class TrainedStudent:
    """Where a student comes from. `rungs` are (epochs, validation accuracy) after each rung of its finishing."""

    searched_accuracy: float | None = None  # after its brief training
    rungs: tuple[tuple[int, float], ...] = ()
    parent: str = ""  # what a pruned one was made of
