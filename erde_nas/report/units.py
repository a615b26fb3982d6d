"""Numbers as a reader wants them: three significant digits, and one unit for a whole column."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from erde_nas.report_data.point import Point
from erde_nas.report_data.uncertainty import known, significant

__all__ = [
    "MISSING",
    "Unit",
    "accuracy_with_ci",
    "latency_unit",
    "macs_unit",
    "one_line",
    "percent",
    "significant",
    "size_unit",
]

MISSING = "-"


@dataclass(frozen=True)
class Unit:
    """A unit and the factor that turns a value of the record (ms, MACs, bytes) into it."""

    symbol: str
    factor: float

    def show(self, value: float | None, uncertain: float = 0.0) -> str:
        """`value` in this unit, without the symbol: three significant digits, or fewer where it may be off by
        `uncertain` of itself."""
        return MISSING if value is None else known(value * self.factor, uncertain)

    def show_with_symbol(self, value: float, uncertain: float = 0.0) -> str:
        """`value` in this unit, the symbol behind it."""
        return f"{self.show(value, uncertain)} {self.symbol}".rstrip()


def latency_unit(latencies_ms: Iterable[float]) -> Unit:
    """Microseconds where most of the latencies are below a millisecond, else milliseconds."""
    values = list(latencies_ms)
    return Unit("µs", 1e3) if values and median(values) < 1 else Unit("ms", 1.0)


def macs_unit(macs: Iterable[float]) -> Unit:
    """MACs in thousands, millions or billions, whichever suits most of the values."""
    return _decimal_unit(macs, (Unit("G", 1e-9), Unit("M", 1e-6), Unit("k", 1e-3)), Unit("", 1.0))


def size_unit(sizes_bytes: Iterable[float]) -> Unit:
    """Sizes in decimal kilobytes or megabytes, whichever suits most of the values."""
    return _decimal_unit(sizes_bytes, (Unit("MB", 1e-6),), Unit("kB", 1e-3))


def _decimal_unit(values: Iterable[float], units: tuple[Unit, ...], smallest: Unit) -> Unit:
    values = list(values)
    typical = median(values) if values else 0.0
    return next((unit for unit in units if typical * unit.factor >= 1), smallest)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share between 0 and 1 as a percentage, without the sign."""
    return MISSING if share is None else f"{100 * share:.{decimals}f}"


def accuracy_with_ci(point: Point, decimals: int = 1) -> str:
    """Test accuracy and its 95 % interval in percent: "97.8 (96.2-99.0)"."""
    accuracy = percent(point.test_accuracy, decimals)
    interval = point.test_accuracy_ci95
    if not interval or accuracy == MISSING:
        return accuracy
    return f"{accuracy} ({percent(interval[0], decimals)}-{percent(interval[1], decimals)})"


def one_line(text: str) -> str:
    """`text` on one line, without control characters: labels come from files that users may edit."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
