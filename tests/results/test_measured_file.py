"""measured.json: what is written is read, and damage of any kind is one clear error."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from erde_nas.errors import UserError
from erde_nas.files import sha256_of
from erde_nas.results.measured_file import Measured, read_measured, set_aside_stale, write_measured
from erde_nas.run.folder import RunStore
from tests.results.test_offers import point
from tests.run.damage import damaged
from tests.run.test_folder import opened

MEASURED = Measured(
    students=("a", "a-p50"),
    teacher=point("teacher", 0.95, 4.0, fast=3.0, role="teacher"),
    baselines=(point("a", 0.9, 2.0, fast=2.0, role="student_without_exits"),),
    points=(point("a", 0.9, 1.0, fast=1.0), point("a-p50", 0.8, 0.5, stage="pruned")),
    unmeasured={"slow": "the device was lost"},
    left_out={"teacher/no-exits.int8.onnx": "no kernel"},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert read_measured(store) == Measured((), None, (), ())
    write_measured(store, MEASURED)
    assert read_measured(store) == MEASURED


def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    store, refused = RunStore(tmp_path), []
    write_measured(store, MEASURED)
    path = tmp_path / "measured.json"
    for text in damaged(json.loads(path.read_text())):
        path.write_text(text)
        try:
            read_measured(store)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 300
    for line in refused:
        assert line.startswith(f"{path} is damaged")
        assert line.endswith("; delete it and give the same command again: everything is measured anew")
        assert "\n" not in line


def test_the_error_names_the_key(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    write_measured(store, MEASURED)
    content = json.loads((tmp_path / "measured.json").read_text())
    content["points"][0]["latency_ms"]["fast"]["mean"] = "1.0"
    (tmp_path / "measured.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"is damaged: points\.0\.latency_ms\.fast\.mean: .*valid number"):
        read_measured(store)


@pytest.fixture
def measured(tmp_path: Path) -> RunStore:
    """A run with a finished student that was measured, and a report."""
    with opened(tmp_path / "run") as store:
        store.update_student("a", stage="finished", weights="w1")
        (store.student("a") / "model.onnx").write_bytes(b"weights and signs")
        (store.folder / "pareto.json").write_text("{}")
        file = "students/a/model.onnx"
        point_ = replace(point("a", 0.9, 1.0, fast=1.0), file=file, sha256=sha256_of(store.folder / file))
        write_measured(store, Measured(("a",), None, (), (point_,), weights={"a": "w1"}))
    return store


def test_a_measurement_of_what_is_there_stays(measured: RunStore) -> None:
    set_aside_stale(measured, pytest.fail)
    assert read_measured(measured).students == ("a",)


@pytest.mark.parametrize("what", ["other weights", "unfinished", "gone", "another file", "no file"])
def test_a_measurement_of_something_else_is_set_aside_with_the_report(measured: RunStore, what: str) -> None:
    model, said = measured.student("a") / "model.onnx", list[str]()
    if what == "other weights":
        measured.update_student("a", weights="w2")
    elif what == "unfinished":
        measured.update_student("a", stage="searched")
    elif what == "gone":
        measured.set_aside("students/a")
    elif what == "another file":
        model.write_bytes(b"weights and sighs")
    else:
        model.unlink()
    set_aside_stale(measured, said.append)
    (line,) = said
    assert line.startswith("measured.json does not belong to the rest of the run: ")
    assert read_measured(measured) == Measured((), None, (), ())
    assert not (measured.folder / "pareto.json").exists()
    assert (measured.folder / "set-aside" / "pareto.json").is_file()


def test_measurements_of_earlier_versions_stay(measured: RunStore) -> None:
    content = json.loads((measured.folder / "measured.json").read_text())
    del content["weights"], content["points"][0]["sha256"]
    (measured.folder / "measured.json").write_text(json.dumps(content))
    set_aside_stale(measured, pytest.fail)
