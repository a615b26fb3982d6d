"""erde-nas export: the files to ship."""

import json

import onnx


def test_a_student_goes_to_a_new_folder(cli, finished, shortlisted, tmp_path):
    to = tmp_path / "deep" / "ship"
    done = cli("export", finished, "--student", shortlisted, "--to", to)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [str(to / name) for name in done_names(to, done.out)]
    assert "model.onnx" in done_names(to, done.out)
    onnx.checker.check_model(onnx.load(to / "model.onnx"))
    assert (to / "model.onnx").read_bytes() == (finished / "students" / shortlisted / "model.onnx").read_bytes()
    described = json.loads((to / "student.json").read_text())
    assert described["dataset"] == {"name": "digits", "classes": list("0123456789"), "image_shape": [1, 16, 16]}
    report = json.loads((finished / "pareto.json").read_text())
    assert described["points"] == [point for point in report["points"] if point["student"] == shortlisted]


def done_names(to, out: str) -> list[str]:
    """The printed names, in their order; they are exactly what the folder holds."""
    names = [line.rsplit("/", 1)[-1] for line in out.splitlines()]
    assert set(names) == {path.name for path in to.iterdir()}
    assert names[-1] == "student.json"
    return names


def test_an_empty_folder_will_do(cli, finished, shortlisted, tmp_path):
    assert cli("export", finished, "--student", f"{shortlisted}-p50", "--to", tmp_path).code == 0


def test_an_existing_folder_or_file_is_left_alone(refused, finished, shortlisted, tmp_path):
    (tmp_path / "mine").write_text("")
    for to in (tmp_path, tmp_path / "mine"):
        message = refused("export", finished, "--student", shortlisted, "--to", to)
        assert message == f"--to {to} exists already; give a new folder"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_student_without_a_file(refused, finished, shortlisted, other, tmp_path):
    for name in (other, "nobody"):
        message = refused("export", finished, "--student", name, "--to", tmp_path / "ship")
        assert f"has no deployable file of '{name}'; it has those of {shortlisted}, {shortlisted}-p50" in message
        assert f"`erde-nas compress {finished} --student ID`" in message
    assert not (tmp_path / "ship").exists()


def test_no_run(refused, tmp_path):
    assert "holds no run" in refused("export", tmp_path, "--student", "x", "--to", tmp_path / "ship")
