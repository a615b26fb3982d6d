"""A run folder whose parts do not belong together any more: the same command names what does not fit, makes it again,
and reports nothing that it did not make."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper


def flip_signs(path: Path) -> None:
    """The first weights of a network with the opposite sign: a whole and valid file."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(np.array(-numpy_helper.to_array(tensor)), tensor.name))
    onnx.save(model, path)


def offered(run: Path) -> list[dict]:
    return [point for point in json.loads((run / "pareto.json").read_text())["points"] if point["file"]]


def test_a_model_that_was_changed_is_not_shipped(refused, cli, run, tmp_path):
    point = next(point for point in offered(run) if point["file"].endswith("model.onnx"))
    flip_signs(run / point["file"])
    message = refused("export", run, "--student", point["student"], "--to", tmp_path / "shipped")
    assert message.startswith(f"{run / point['file']} is not the file that was measured")
    assert not (tmp_path / "shipped").exists()
    other = next(p["student"] for p in offered(run) if p["student"] != point["student"])
    assert cli("export", run, "--student", other, "--to", tmp_path / "shipped").code == 0


def test_weights_that_were_changed_are_not_shipped(refused, run, tmp_path):
    student = offered(run)[0]["student"]
    path = run / "students" / student / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 0x80
    path.write_bytes(content)
    message = refused("export", run, "--student", student, "--to", tmp_path / "shipped")
    assert message.startswith(f"{path} is damaged (its weights are not those that were written)")


def test_a_run_of_the_version_before_opens(cli, run, tmp_path):
    """Without digests, which it did not write."""
    files = [run / f"{name}.json" for name in ("manifest", "measured", "pareto")]
    for path in [*run.glob("students/*/metrics.json"), *files]:
        path.write_text(json.dumps(without_digests(json.loads(path.read_text()))))
    student = offered(run)[0]["student"]
    assert cli("report", run).code == 0
    assert cli("export", run, "--student", student, "--to", tmp_path / "shipped").code == 0


def without_digests(value):
    if isinstance(value, list):
        return [without_digests(item) for item in value]
    if not isinstance(value, dict):
        return value
    later = {"sha256", "weights", "made_of", "teacher_compute"}
    kept = {key: without_digests(item) for key, item in value.items() if key not in later}
    return {key: item for key, item in kept.items() if key != "teacher" or not isinstance(item, str)}


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["study.db", "weights", "model"])
def test_what_is_lost_is_made_again_and_nothing_is_mixed(cli, tiny, run, shortlisted, lost):
    before = {point["student"]: point["val_accuracy"] for point in offered(run)}
    if lost == "study.db":
        (run / "study.db").unlink()
    elif lost == "weights":
        (run / "students" / shortlisted / "weights.safetensors").unlink()
    else:
        flip_signs(run / "students" / shortlisted / "model.onnx")
    done = cli(*tiny.search(run))
    assert done.code == 0, done.err
    assert "does not belong to the rest of the run: " in done.err
    assert (run / "set-aside").is_dir()
    for path in run.glob("students/*/metrics.json"):
        finished = json.loads(path.read_text())["stage"] == "finished"
        assert finished == (path.parent / "rung1.safetensors").is_file(), "what is said to be finished was trained so"
    after = {point["student"]: point["val_accuracy"] for point in offered(run)}
    assert after.keys() == before.keys(), "the same training leads to the same students"
    shutil.rmtree(run / "set-aside")
    assert "does not belong" not in cli(*tiny.search(run)).err
