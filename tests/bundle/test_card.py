"""The model card: what it tells a reader to type works, and its numbers have the digits that are known."""

from typing import Any

import numpy as np
import pytest

from erde_nas.bundle.card import example_budget, model_card
from erde_nas.bundle.student_file import StudentFile
from erde_nas.report_data.json_records import from_json


def student(means, *, profiles=(("here", "onnxruntime", "cpu"),)) -> StudentFile:
    """A student with one operating point for each of the `means` by profile."""
    conditions = {"threads": 1, "batch_size": 1, "precision": "fp32", "description": "", "elsewhere": False}
    draft = _student()
    return from_json(
        StudentFile,
        {
            **draft,
            "profiles": {name: {**conditions, "runtime": used, "device": device} for name, used, device in profiles},
            "trade_offs": [
                {**draft["default"], "latency_ms": {name: {"mean": values[i]} for name, values in means.items()}}
                for i in range(len(next(iter(means.values()))))
            ],
        },
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_example_is_within_the_range_of_the_points(seed):
    rng = np.random.default_rng(seed)
    means = list(10 ** rng.uniform(-3, 3) * rng.uniform(1, 1 + 10.0 ** -rng.integers(0, 5), rng.integers(1, 5)))
    budget = float(example_budget(student({"here": means})))
    assert min(means) <= budget <= max(1.1 * max(means), budget * 0)
    assert len(f"{budget:.10e}".split("e")[0].rstrip("0").replace(".", "")) <= 2, "two digits"


def test_the_profile_is_named_where_run_py_would_take_another():
    profiles = (("gpu", "onnxruntime", "cuda"), ("far", "openvino", "cpu"), ("here", "onnxruntime", "cpu"))
    found = student({"gpu": [0.1], "far": [5.0], "here": [2.0]}, profiles=profiles)
    assert example_budget(found) == "2 --profile here"
    assert example_budget(student({"far": [5.0]}, profiles=profiles[1:2])) == ""


def _student(**latency: Any) -> dict[str, Any]:
    """A draft of student.json, with one measured point: 30.612 µs, known to 2 %."""
    entry = {"mean": 0.030612, "p50": 0.0301234, "p95": 0.0412345, "p99": 0.0512345, "source": "measured"}
    point = {"val_accuracy": 0.97, "test_accuracy": 0.96, "test_accuracy_ci95": [0.95, 0.97]}
    here = {**entry, "interval": [0.03, 0.0312], "noisy": False, "interrupted": 0.01, **latency}
    default = {"model": "model.onnx", "thresholds": [], "exit_fractions": [1.0], **point, "latency_ms": {}}
    where = {"where": "in the file", "mean": [0.5], "std": [0.2]}
    return {
        "schema": 1,
        "student": "c51e0f9a33",
        "stage": "finished",
        "input": {
            **{"name": "image", "channels": 1, "size": 8, "layout": "batch, channel, row, column"},
            **{"pixels": "uint8, 0 to 255", "colour": "gray", "normalisation": where},
        },
        "output": {},
        "classes": ["a", "b"],
        "default": default,
        "trade_offs": [{**default, "latency_ms": {"cpu-1thread": here}}],
        "profiles": {},
        "measurements": [],
        "baselines": [],
        "arch": {"family": "resnet", "exits": [{"block": 1}]},
        "data": {"name": "d", "train": 3, "validation": 2, "test": 1, "licence": "none", "fingerprint": "0" * 64},
        "provenance": {
            **{"made_with": "m", "recipe": "r", "seed": 0, "teacher": "t"},
            "measured_on": {"cpu": "c", "cores": 2, "platform": "p", "versions": {}},
        },
        "models": {},
        "other_formats": {},
    }


def test_digits_that_are_not_known_are_not_shown() -> None:
    card = model_card(from_json(StudentFile, _student()))
    assert "| cpu-1thread | 0.0306    | 0.0301 | 0.0412 | 0.051 |" in card
    assert "in doubt" not in card


def test_a_latency_in_doubt_is_marked_and_said() -> None:
    card = model_card(from_json(StudentFile, _student(noisy=True, interval=[0.02, 0.04])))
    assert "| 0.03!     | 0.03  |" in card
    assert "! in doubt (noisy: its interval was still wide" in card


def test_bundles_of_earlier_versions_have_no_interval() -> None:
    student = _student()
    for key in ("interval", "noisy", "interrupted"):
        del student["trade_offs"][0]["latency_ms"]["cpu-1thread"][key]
    assert "| 0.0306    | 0.0301 | 0.0412 | 0.0512 |" in model_card(from_json(StudentFile, student))


def test_points_of_one_file_are_told_apart_by_their_thresholds() -> None:
    student = _student()
    student["trade_offs"] = [{**student["trade_offs"][0], "thresholds": [value]} for value in (0.51234, 1.25)]
    card = model_card(from_json(StudentFile, student))
    assert "| model.onnx at 0.512 |" in card
    assert "| model.onnx at 1.25  |" in card


def test_the_rule_by_which_images_leave_is_said_with_its_unit() -> None:
    student = _student()
    student["arch"]["exits"].append({"block": 2})
    student["default"] = {**student["default"], "thresholds": [0.25]}
    plain = model_card(from_json(StudentFile, student)).replace("\n", " ")
    assert "at the first exit where the entropy of its answer is below that exit's threshold" in plain
    assert "`model.onnx` at the thresholds 0.25 (nats)" in plain
    student["exit_rule"] = {"name": "ahead", "text": "lead of its answer", "unit": ""}
    other = model_card(from_json(StudentFile, student)).replace("\n", " ")
    assert "at the first exit where the lead of its answer is below that exit's threshold" in other
    assert "`model.onnx` at the thresholds 0.25 " in other
    assert "nats" not in other


POISON = "<script>alert(1)</script><img src=x onerror=y>|[a](http://b.c)![d](e)`f`*g*\n# h\n- www.i.com \x1b[2J"
GIVEN = ("stage", "role", "source", "where")  # which only we write


def _poisoned(value: Any, key: str = "") -> Any:
    """Every text of a JSON value that may come from a recipe, from data, or from somebody else's run, replaced."""
    if isinstance(value, dict):
        return {k: _poisoned(item, k) for k, item in value.items()}
    if isinstance(value, list):
        return [_poisoned(item, key) for item in value]
    return POISON if isinstance(value, str) and key not in GIVEN else value


def test_nothing_that_a_recipe_or_the_data_say_acts_as_markup() -> None:
    from markdown_it import MarkdownIt

    student = _student()
    student["arch"]["exits"].append({"block": 2})
    student["default"] = {**student["default"], "thresholds": [0.25]}
    student["exit_rule"] = {"name": "ahead", "text": "lead", "unit": "nats"}
    student["models"]["model.onnx"] = {
        **{"format": "onnx", "runtime": "onnxruntime", "precision": "int8", "instructions": ["avx"]},
        **{"thresholds": [], "segments": [], "offered": False, "reasons": ["slow"]},
    }
    conditions = {"runtime": "onnxruntime", "device": "cpu", "threads": 1, "batch_size": 1, "precision": "fp32"}
    student["profiles"]["cpu-1thread"] = {**conditions, "description": "a device", "elsewhere": True}
    student["provenance"]["measured_on"]["versions"] = {"onnxruntime": "1"}
    harmless = MarkdownIt("commonmark").enable("table").parse(model_card(from_json(StudentFile, student)))
    found = MarkdownIt("commonmark").enable("table").parse(model_card(from_json(StudentFile, _poisoned(student))))

    def kinds(tokens: list[Any]) -> list[str]:
        return [token.type for token in tokens if token.type != "softbreak"]

    assert kinds(found) == kinds(harmless), "headings, lists and tables are ours"
    inline = {child.type for token in found for child in token.children or []}
    assert inline <= {"text", "softbreak", "code_inline", "text_special"}
    assert "\x1b" not in model_card(from_json(StudentFile, _poisoned(student)))
