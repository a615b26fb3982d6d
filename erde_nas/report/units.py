"""Numbers as a reader wants them: three significant digits, and one unit for a whole column."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

MISSING = "-"


@dataclass(frozen=True)
class Unit:
    """A unit and the factor that turns a value of the record (ms, MACs, bytes) into it."""

    symbol: str
    factor: float

    def show(self, value: float | None) -> str:
        """`value` in this unit with three significant digits, without the symbol."""
        return MISSING if value is None else significant(value * self.factor)

    def show_with_symbol(self, value: float) -> str:
        """`value` in this unit, the symbol behind it."""
        return f"{significant(value * self.factor)} {self.symbol}".rstrip()


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits and no exponent: 0.0452, 1.20, 12300."""
    if not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"


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


def accuracy_with_ci(point: dict[str, Any], decimals: int = 1) -> str:
    """Test accuracy and its 95 % interval in percent: "97.8 (96.2-99.0)"."""
    accuracy = percent(point.get("test_accuracy"), decimals)
    interval = point.get("test_accuracy_ci95")
    if not interval or accuracy == MISSING:
        return accuracy
    return f"{accuracy} ({percent(interval[0], decimals)}-{percent(interval[1], decimals)})"


def one_line(text: str) -> str:
    """`text` on one line, without control characters: labels come from files that users may edit."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
