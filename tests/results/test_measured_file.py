"""measured.json: what is written is read, and damage of any kind is one clear error."""

import json
from pathlib import Path

import pytest

from erde_nas.errors import UserError
from erde_nas.results.measured_file import Measured, read_measured, write_measured
from erde_nas.run.folder import RunStore
from tests.results.test_offers import point
from tests.run.damage import damaged

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
