"""Numbers as text, against values worked out by hand."""

from dataclasses import replace

import pytest

from erde_nas.report.units import accuracy_with_ci, latency_unit, macs_unit, one_line, percent, significant, size_unit
from erde_nas.report_data.json_records import from_json
from erde_nas.report_data.point import Point
from tests.report.conftest import point


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.04517, "0.0452"),
        (0.9996, "1.00"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (99.96, "100"),
        (12345.0, "12300"),
        (-0.5, "-0.500"),
        (float("inf"), "inf"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_column_has_the_unit_that_suits_most_of_its_values() -> None:
    assert latency_unit([0.07, 0.4, 2.3]).symbol == "µs"
    assert latency_unit([0.9, 1.4, 2.3]).symbol == "ms"
    assert latency_unit([]).symbol == "ms"
    assert [macs_unit([v]).symbol for v in (10, 2e3, 4e6, 7e9)] == ["", "k", "M", "G"]
    assert [size_unit([v]).symbol for v in (900, 2e5, 3e6)] == ["kB", "kB", "MB"]


def test_units_scale_and_keep_the_unknown_apart() -> None:
    unit = latency_unit([0.2])
    assert unit.show(0.0451) == "45.1"
    assert unit.show_with_symbol(0.0451) == "45.1 µs"
    assert unit.show(None) == "-"
    assert percent(None) == "-"


def test_accuracy_carries_its_interval_where_there_is_one() -> None:
    tested = {"test_accuracy": 0.9184, "test_accuracy_ci95": [0.912, 0.9251]}
    one = from_json(Point, {**point("a", "finished", 0.92, 1e6, {}), **tested})
    assert accuracy_with_ci(one) == "91.8 (91.2-92.5)"
    assert accuracy_with_ci(replace(one, test_accuracy_ci95=None), 2) == "91.84"
    assert accuracy_with_ci(replace(one, test_accuracy=None, test_accuracy_ci95=None)) == "-"


def test_labels_lose_line_breaks_and_control_characters() -> None:
    assert one_line("a\n\tb\x1b[31m  c") == "a b [31m c"
