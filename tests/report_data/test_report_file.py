"""pareto.json: what is written is read, of earlier versions as well, and damage of any kind is one clear error."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erde_nas.errors import UserError
from erde_nas.report_data.json_records import to_json
from erde_nas.report_data.report import Report
from erde_nas.report_data.report_file import read_report, report_json
from tests.report.conftest import model

OLD = Path(__file__).with_name("pareto-of-an-earlier-version.json")
REMEDY = "give the run's `erde-nas search` command again"
CONTRACT = {  # of schema 1, that no report lacks
    *("schema", "objectives", "dataset", "teacher", "baselines", "points", "hypervolume"),
    *("student", "stage", "arch", "thresholds", "exit_fractions", "val_accuracy", "test_accuracy"),
    *("test_accuracy_ci95", "macs", "macs_per_exit", "params", "size_bytes", "latency_ms", "file"),
    *("mean", "p50", "p95", "p99", "expected_mean", "source", "runtime", "threads", "batch_size", "precision"),
}


@pytest.fixture(scope="module")
def draft() -> dict[str, Any]:
    """A report of an earlier version in today's form, with every part that a report may have."""
    found = json.loads(OLD.read_text())
    folder_report = to_json(_read_old())
    rank = {"tau": 0.5, "low": 0.1, "high": 0.9, "n": 30}
    latency_model = {"n": 30, "median_error": 0.1, "p95_error": 0.2, "tau": 0.5, "tau_low": 0.1, "tau_high": 0.9}
    candidates = [{"student": "a", "one_shot": 0.5, "brief": None, "full": 0.75}]
    return {
        **folder_report,
        "rank_correlation": {"evaluator": "train", **rank},
        "latency_model": {"cpu-1thread": {**latency_model, "skipped": 2}},
        "rank_check": {"candidates": candidates, "correlations": [{"first": "brief", "second": "full", **rank}]},
        "teacher_check": {"teacher": 0.9, "student": None, "trusted": True},
        "own_teacher": ["its images are gray"],
        "unmeasured": {"far": "it was lost"},
        "left_out": {"students/a/model.onnx": "no kernel"},
        "objectives": found["objectives"],
    }


@pytest.fixture(scope="module")
def small(draft: dict[str, Any]) -> dict[str, Any]:
    """The same with one of each, since it is read thousands of times."""
    found = copy.deepcopy(draft)
    for point in [found["teacher"], *found["baselines"], *found["points"]]:
        point["latency_ms"].pop("cpu-1thread-int8", None)
    found["profiles"].pop("cpu-1thread-int8")
    fronts = {"macs": [0], "cpu-1thread": []}
    return {**found, "baselines": found["baselines"][1:2], "points": found["points"][:1], "fronts": fronts}


def _read_old() -> Report:
    return model(json.loads(OLD.read_text()))


def _read(folder: Path, value: Any) -> Report:
    folder.mkdir(exist_ok=True)
    (folder / "pareto.json").write_text(json.dumps(value))
    return read_report(folder)


def test_what_is_written_is_read(tmp_path: Path, draft: dict[str, Any]) -> None:
    report = _read(tmp_path, draft)
    assert to_json(report) == draft
    (tmp_path / "pareto.json").write_text(report_json(report), encoding="utf-8")
    assert read_report(tmp_path) == report


def test_a_report_of_an_earlier_version_says_the_same(tmp_path: Path) -> None:
    """But for `label`, which is now role and reason, every key has the value that it had. Its exit rule was entropy."""
    old = json.loads(OLD.read_text())
    new = to_json(_read(tmp_path, old))
    later = {"estimated_fronts", "exit_rule", "screened", "curves", "students", "unfinished", "pictures"}
    assert new.keys() == {*old} | later
    assert new["exit_rule"] == {"name": "entropy", "text": "entropy of its answer", "unit": "nats"}
    for key in old.keys() - {"teacher", "baselines", "points", "profiles", "searched"}:
        assert new[key] == old[key]
    assert new["searched"] == [{**trial, "shape": "", "seconds": None} for trial in old["searched"]]
    assert new["profiles"] == {
        name: {**profile, "objective": "mean", "screen": True} for name, profile in old["profiles"].items()
    }
    before = [old["teacher"], *old["baselines"], *old["points"]]
    for point, was in zip([new["teacher"], *new["baselines"], *new["points"]], before, strict=True):
        assert {key: point[key] for key in was if key != "label"} == {k: v for k, v in was.items() if k != "label"}
    assert [point["role"] for point in new["baselines"]] == ["teacher", "teacher_with_exits", "student_without_exits"]
    assert new["teacher"]["role"] == "teacher"
    assert {point["role"] for point in new["points"]} == {"student"}
    assert [point["reason"] for point in new["points"]] == [point["label"] for point in old["points"]]
    assert [point["dominated"] for point in new["points"]] == [False, True, False, False]


def test_keys_of_a_later_version_with_the_same_schema_are_passed_over(tmp_path: Path, draft: dict[str, Any]) -> None:
    later = copy.deepcopy(draft)
    later["mood"] = later["teacher"]["mood"] = "good"
    assert _read(tmp_path, later) == _read(tmp_path, draft)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the first element of each list standing for the others."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list) and value:
        yield from _places(value[0], (*path, 0))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _outcome(folder: Path, value: Any) -> tuple[Any, str]:
    """What a reader gets of a report in JSON: the report in JSON, or the error."""
    try:
        return to_json(_read(folder, value)), ""
    except UserError as error:
        return None, str(error)


def _agrees(found: Any, value: Any) -> bool:
    """Whether what was read says what was written, in the same types; keys may have been added or passed over."""
    if isinstance(found, dict) and isinstance(value, dict):
        return all(_agrees(item, value[key]) for key, item in found.items() if key in value)
    if isinstance(found, list) and isinstance(value, list):
        return len(found) == len(value) and all(map(_agrees, found, value))
    return found == value and isinstance(found, bool) == isinstance(value, bool)


def test_a_value_of_another_type_is_refused_or_read_as_it_stands(tmp_path: Path, small: dict[str, Any]) -> None:
    for path in _places(small):
        for wrong in (None, True, 0.5, "text", [None], {"a": 1}) if path else ():
            damaged = copy.deepcopy(small)
            _at(damaged, path[:-1])[path[-1]] = wrong
            found, error = _outcome(tmp_path, damaged)
            if error:
                assert error.startswith(f"{tmp_path / 'pareto.json'} is damaged")
                assert REMEDY in error
                assert "\n" not in error
            else:
                assert _agrees(found, damaged), path
                was = _at(small, path)
                assert not isinstance(was, float) or isinstance(wrong, float | None), path


def test_a_missing_key_is_refused_or_has_its_default(tmp_path: Path, small: dict[str, Any]) -> None:
    refused = set()
    for path in _places(small):
        if not path or isinstance(path[-1], int):
            continue
        damaged = copy.deepcopy(small)
        del _at(damaged, path[:-1])[path[-1]]
        found, error = _outcome(tmp_path, damaged)
        if error:
            assert error.startswith(f"{tmp_path / 'pareto.json'} is damaged")
            refused.add(path[-1])
        else:
            assert _agrees(found, damaged), path
    assert refused >= CONTRACT


def test_a_file_that_ends_early_is_refused(tmp_path: Path, draft: dict[str, Any]) -> None:
    text = json.dumps(draft, indent=1)
    for end in [*range(100), *range(100, len(text), 997), len(text) - 1]:
        (tmp_path / "pareto.json").write_text(text[:end])
        with pytest.raises(UserError, match="is damaged"):
            read_report(tmp_path)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"3", b'"a"', b"\xff\xfe\x00", b"[" * 99999, b"{"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pareto.json").write_bytes(content)
    with pytest.raises(UserError, match="is damaged") as caught:
        read_report(tmp_path)
    assert REMEDY in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_names_the_key(tmp_path: Path, draft: dict[str, Any]) -> None:
    damaged = copy.deepcopy(draft)
    damaged["points"][1]["latency_ms"]["cpu-1thread"]["mean"] = "fast"
    del damaged["hypervolume"]
    with pytest.raises(UserError, match=r"points\.1\.latency_ms\.cpu-1thread\.mean: .* valid number, and 1 more; "):
        _read(tmp_path, damaged)
    damaged = copy.deepcopy(draft)
    damaged["fronts"]["macs"] = [0, 99]
    with pytest.raises(UserError, match="fronts must be indices into points"):
        _read(tmp_path, damaged)


def test_a_newer_schema_is_refused_as_such(tmp_path: Path, draft: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is of schema 2, but this version of erde-nas reads schema 1"):
        _read(tmp_path, {**draft, "schema": 2})


def test_a_folder_without_a_report_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} holds no run; start one"):
        read_report(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="holds a run without a report yet; continue it"):
        read_report(tmp_path)
