"""erde-nas verify: an exported folder against its own student.json."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper


@pytest.fixture
def bundle(cli, finished, shortlisted, tmp_path):
    done = cli("export", finished, "--student", shortlisted, "--to", tmp_path / "ship", "--format", "onnx")
    assert done.code == 0, done.err
    return tmp_path / "ship"


def change(bundle, **changes):
    """student.json with other values, as its own files' digests do not cover it."""
    path = bundle / "student.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_export_is_what_it_says_it_is(cli, bundle):
    done = cli("verify", bundle, "--json")
    assert done.code == 0, done.err
    found, described = json.loads(done.out), json.loads((bundle / "student.json").read_text())
    assert found["ok"]
    assert (found["problems"], found["remarks"]) == ([], [])
    read = [row for row in found["rows"] if row["same"] is not None]
    claims = [point[key] for point in described["measurements"] for key in ("val_accuracy", "test_accuracy")]
    assert sorted(row["shipped"] for row in read) == pytest.approx(sorted(claims))
    assert all(row["same"] for row in read)
    timed = [row for row in found["rows"] if row["same"] is None]
    assert {name for name in described["profiles"] if any(row["what"].endswith(name) for row in timed)} == set(
        described["default"]["latency_ms"]
    )
    assert all(row["here"] > 0 and row["note"].startswith("x") for row in timed)


def test_an_accuracy_that_is_not_true_is_found(cli, bundle):
    described = json.loads((bundle / "student.json").read_text())
    points = [{**point, "test_accuracy": point["test_accuracy"] - 0.05} for point in described["measurements"]]
    change(bundle, measurements=points)
    done = cli("verify", bundle)
    assert done.code == 2
    assert "differs" in done.out
    assert "of test, not" in done.out
    assert "is not what its student.json says; export the student again" in done.err


def test_a_file_whose_signs_are_flipped_is_not_run(cli, bundle):
    model = onnx.load(bundle / "model.onnx")
    (weights, *_) = (t for t in model.graph.initializer if len(t.dims) == 4)
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights).astype(np.float32), weights.name))
    onnx.save(model, bundle / "model.onnx")
    (bundle / "run.py").unlink()
    done = cli("verify", bundle, "--json")
    assert done.code == 2
    found = json.loads(done.out)
    assert found["problems"] == ["model.onnx is not the file that was shipped", "run.py is missing"]
    assert found["rows"] == []


def test_a_file_of_another_folder_is_not_read(cli, bundle, tmp_path):
    described = json.loads((bundle / "student.json").read_text())
    (tmp_path / "secret").write_text("x")
    change(bundle, files={**described["files"], "../secret": {"sha256": "0", "bytes": 1}})
    done = cli("verify", bundle)
    assert done.code == 2
    assert "../secret lies outside of the folder" in done.out


def test_data_that_are_not_here_are_a_remark(cli, bundle):
    described = json.loads((bundle / "student.json").read_text())
    change(bundle, data={**described["data"], "section": {"name": "folder", "image_size": 16}})
    done = cli("verify", bundle, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["remarks"] == ["accuracy is not checked: name the images with --data-dir"]
    assert {row["same"] for row in found["rows"]} == {None}


def test_a_folder_that_is_no_export(refused, tmp_path):
    assert refused("verify", tmp_path) == (
        f"{tmp_path} holds no student.json; give a folder that `erde-nas export` wrote"
    )
    (tmp_path / "student.json").write_text('{"schema": 1, "student": 3}')
    assert "student.json is damaged: " in refused("verify", tmp_path)
