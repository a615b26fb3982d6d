"""What is known against a latency, and how many digits are known of it: counted by hand."""

from dataclasses import replace
from typing import Any

import pytest

from erde_nas.report_data.latency import Latency
from erde_nas.report_data.uncertainty import doubts, known, uncertainty


def latency(**changes: Any) -> Latency:
    """One of which nothing but its mean is known, and `changes`."""
    nothing = Latency(1.0, None, None, None, 1.0, (1.0,), "measured", "onnxruntime", "cpu", 1, 1, "fp32")
    return replace(nothing, **changes)


FIRM = latency(mean=30.6, p50=30.0, p95=40.0, interval=(30.0, 31.2), noisy=False, interrupted=0.02)


def test_nothing_is_said_against_a_firm_latency_or_none() -> None:
    assert doubts(FIRM) == doubts(None) == doubts(latency(mean=None, noisy=True)) == doubts(latency()) == []
    assert uncertainty(FIRM) == pytest.approx(0.6 / 30.6)
    assert uncertainty(None) == uncertainty(latency()) == 0.0


@pytest.mark.parametrize(
    ("changes", "said", "off"),
    [
        ({"noisy": True}, "noisy", 0.6 / 30.6),
        ({"noisy": True, "interval": None}, "noisy", 0.1),
        ({"interrupted": 0.8, "noisy": True, "interval": None}, "80% of the calls were interrupted", 0.1),
        ({"mean": 682.0, "p50": 321.0, "p95": 401.0, "interval": None}, "mean is beyond its p95", 682 / 321 - 1),
    ],
)
def test_each_reason_is_said_and_the_digits_follow(changes: dict, said: str, off: float) -> None:
    (reason,) = doubts(replace(FIRM, **changes))
    assert said in reason
    assert uncertainty(replace(FIRM, **changes)) == pytest.approx(off)


@pytest.mark.parametrize(
    ("value", "uncertain", "text"),
    [
        (30.612, 0.02, "30.6"),  # ± 0.6
        (95.31, 0.02, "95"),  # ± 2
        (318.2, 0.05, "320"),  # ± 16
        (682.0, 1.12, "700"),
        (22.3, 0.1, "22"),  # ± 2
        (0.04517, 0.2, "0.045"),  # ± 0.009
        (0.04517, 0.0, "0.0452"),
        (1.0, 0.0001, "1.00"),  # never more than three
        (0.0, 0.1, "0.00"),
    ],
)
def test_the_last_digit_is_the_first_in_doubt(value: float, uncertain: float, text: str) -> None:
    assert known(value, uncertain) == text
