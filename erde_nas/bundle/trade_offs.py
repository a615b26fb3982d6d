"""A student's operating points in one table: what `run.py` chooses from when a budget is given.

Points that were measured keep their test accuracy and their measured means. The rest of the curve has validation
accuracy alone, and a mean that is estimated: the share of every exit times the measured cost of leaving there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from erde_nas.bundle.measured_student import MeasuredStudent
from erde_nas.bundle.student_file import ShippedLatency, TradeOff
from erde_nas.files import checked
from erde_nas.onnx_files.curve import curve_path, read_curve
from erde_nas.report_data.json_records import from_json
from erde_nas.report_data.point import Point


@dataclass(frozen=True)
class _OnCurve:
    """A point of a file's curve on validation."""

    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]
    val_accuracy: float


def trade_offs(student: MeasuredStudent, models: Sequence[str]) -> list[TradeOff]:
    """All points of these models (file names), by rising mean latency on the first profile that knows them."""
    rows = []
    for model in models:
        points = student.by_model[model]
        rows += [measured_row(model, point) for point in points]
        known = {point.thresholds for point in points}
        costs = {profile: latency.per_exit for profile, latency in points[0].latency_ms.items()}
        curve = _curve(student.files[model], len(points[0].exit_fractions))
        rows += [_estimated_row(model, point, costs) for point in curve if point.thresholds not in known]
    return sorted(rows, key=lambda row: next((latency.mean for latency in row.latency_ms.values()), 0.0))


def _curve(model: Path, exits: int) -> list[_OnCurve]:
    """The curve beside a model. Raises UserError where it is none of a student with that many exits."""

    def read() -> list[_OnCurve]:
        curve = from_json(list[_OnCurve], read_curve(model))
        if any(len(point.exit_fractions) != exits for point in curve):
            raise ValueError(f"exit_fractions must be {exits}, one for each exit")
        return curve

    return checked(curve_path(model), read, "`erde-nas compress` writes it anew")


def measured_row(model: str, point: Point) -> TradeOff:
    """A point of the report as a row of the table."""
    return TradeOff(
        model=model,
        thresholds=point.thresholds,
        exit_fractions=point.exit_fractions,
        val_accuracy=point.val_accuracy,
        test_accuracy=point.test_accuracy,
        test_accuracy_ci95=point.test_accuracy_ci95,
        latency_ms=measured_latency(point),
    )


def measured_latency(point: Point) -> dict[str, ShippedLatency]:
    """Milliseconds per image under each profile that timed the point."""
    return {
        profile: ShippedLatency(
            mean=latency.mean,
            p50=latency.p50,
            p95=latency.p95,
            p99=latency.p99,
            interval=latency.interval,
            noisy=latency.noisy,
            interrupted=latency.interrupted,
        )
        for profile, latency in point.latency_ms.items()
        if latency.mean is not None
    }


def _estimated_row(model: str, point: _OnCurve, costs: dict[str, tuple[float, ...]]) -> TradeOff:
    latency = {
        profile: ShippedLatency(
            mean=sum(share * ms for share, ms in zip(point.exit_fractions, per_exit, strict=True)), source="estimated"
        )
        for profile, per_exit in costs.items()
    }
    return TradeOff(model, point.thresholds, point.exit_fractions, point.val_accuracy, None, None, latency)
