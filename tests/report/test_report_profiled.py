"""The table of `erde-nas profile`: the digits that are known, doubts, and what was interrupted."""

from typing import Any

from erde_nas.report.profiled import profile_table


def _row(**changes: Any) -> dict[str, Any]:
    row = {
        **{"profile": "here", "file": "a.onnx", "precision": "fp32", "per_exit": [0.0123456, 0.0456789]},
        **{"expected_mean": 0.0305555, "mean": 0.030612, "p50": 0.0301, "p95": 0.0412, "p99": 0.0512},
        **{"interval": [0.0300, 0.0312], "noisy": False, "interrupted": None, "memory_bytes": None, "energy_mj": None},
        **{"note": "", "versions": "r 1", "device": "cpu", "threads": 1, "batch_size": 1},
    }
    return {**row, **changes}


def test_numbers_have_the_digits_that_their_interval_leaves() -> None:
    text = profile_table([_row()])
    assert "0.0123  0.0457" in text
    assert "0.0306 (0.0300-0.0312)" in text
    assert "!" not in text


def test_a_row_in_doubt_says_why() -> None:
    text = profile_table([_row(mean=0.682, p50=0.321, p95=0.401, interval=None, interrupted=0.021)])
    assert "0.7!" in text
    assert "! here: a.onnx: its mean is beyond its p95" in text
    assert "2.1% of the calls were interrupted" in text


def test_exits_alone_may_be_noisy_too() -> None:
    text = profile_table([_row(mean=None, p50=None, p95=None, p99=None, interval=None, noisy=True)])
    assert "! here: a.onnx: noisy" in text
    assert "0.012  0.046" in text  # known to a tenth
    assert "0.031!" in text
    assert "-!" not in text


def test_a_ratio_has_the_digits_that_its_interval_leaves() -> None:
    ratio = {"ratio": 10.5612, "interval": [10.1, 11.0], "processes": 6}
    assert "takes 10.6 times as long (95% interval 10.1 to 11.0)" in profile_table([_row(), _row(ratio=ratio)])


def test_a_ratio_of_noisy_files_without_an_interval_is_rough() -> None:
    ratio = {"ratio": 1.6212, "interval": None, "processes": 1}
    assert "takes 1.62 times as long\n" in profile_table([_row(), _row(ratio=ratio)])
    assert "takes roughly 1.6 times as long\n" in profile_table([_row(noisy=True), _row(ratio=ratio)])
