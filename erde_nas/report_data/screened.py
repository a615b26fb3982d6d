"""An operating point that a brief measurement ruled out, as pareto.json holds it (`screened`)."""

from dataclasses import dataclass

from erde_nas.report_data.point import Stage


@dataclass(frozen=True)
class ScreenedPoint:
    """What is known of a point that was not measured in full, and why it was not.

    Accuracy is that on validation. `estimated_ms` are milliseconds by profile, expected from a brief timing of its
    exits: of the profile's objective, for energy of the mean.
    """

    student: str
    stage: Stage
    precision: str
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_accuracy: float
    macs: float | None
    estimated_ms: dict[str, float]
    reason: str
