"""The model card's numbers: as many digits as are known, and a mark with its reason where they are in doubt."""

from typing import Any

from erde_nas.export.card import model_card


def _student(**latency: Any) -> dict[str, Any]:
    """A student as `bundle.describe` describes it, with one measured point: 30.612 µs, known to 2 %."""
    entry = {"mean": 0.030612, "p50": 0.0301234, "p95": 0.0412345, "p99": 0.0512345, "source": "measured"}
    point = {"val_accuracy": 0.97, "test_accuracy": 0.96, "test_accuracy_ci95": [0.95, 0.97]}
    here = {**entry, "interval": [0.03, 0.0312], "noisy": False, "interrupted": 0.01, **latency}
    return {
        "student": "c51e0f9a33",
        "stage": "finished",
        "arch": {"family": "resnet", "exits": [{"block": 1}]},
        "classes": ["a", "b"],
        "input": {"size": 8, "colour": "gray"},
        "default": {"model": "model.onnx", "thresholds": []},
        "trade_offs": [{"model": "model.onnx", **point, "latency_ms": {"cpu-1thread": here}}],
        "baselines": [],
        "data": {"name": "d", "train": 3, "validation": 2, "test": 1, "licence": "none", "fingerprint": "0" * 64},
        "models": {},
        "profiles": {},
        "provenance": {
            "made_with": "m",
            "recipe": "r",
            "seed": 0,
            "teacher": "t",
            "measured_on": {"cpu": "c", "versions": {}},
        },
    }


def test_digits_that_are_not_known_are_not_shown() -> None:
    card = model_card(_student())
    assert "| cpu-1thread | 0.0306    | 0.0301 | 0.0412 | 0.051 |" in card
    assert "in doubt" not in card


def test_a_latency_in_doubt_is_marked_and_said() -> None:
    card = model_card(_student(noisy=True, interval=[0.02, 0.04]))
    assert "| 0.03!     | 0.03  |" in card
    assert "! in doubt (noisy: its interval was still wide" in card


def test_bundles_of_earlier_versions_have_no_interval() -> None:
    student = _student()
    for key in ("interval", "noisy", "interrupted"):
        del student["trade_offs"][0]["latency_ms"]["cpu-1thread"][key]
    assert "| 0.0306    | 0.0301 | 0.0412 | 0.0512 |" in model_card(student)
