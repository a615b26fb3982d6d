"""erde-nas compress: further students of a run are finished, pruned, quantized and measured."""

import json


def test_a_student_that_was_not_on_the_shortlist(cli, tiny, run, shortlisted, other, monkeypatch):
    done = cli("compress", run, "--student", other)
    assert done.code == 0, done.err
    report = json.loads((run / "pareto.json").read_text())
    stages = {(point["student"], point["stage"]) for point in report["points"]}
    assert {(shortlisted, "finished"), (other, "finished")} <= stages
    assert (run / "students" / f"{other}-p50" / "model.onnx").is_file()
    assert other in done.out + (run / "report.md").read_text()
    assert cli("export", run, "--student", other, "--to", run.parent / "ship").code == 0

    # The search's own command keeps it.
    monkeypatch.setattr("erde_nas.finals.measure", None)
    done = cli(*tiny.search(run))
    assert done.code == 0, done.err
    assert json.loads((run / "pareto.json").read_text())["points"] == report["points"]


def test_unknown_students(refused, run, shortlisted):
    before = (run / "pareto.json").read_text()
    for name in ("nobody", f"{shortlisted}-p50"):
        message = refused("compress", run, "--student", name)
        assert f"{run} holds no complete candidate '{name}'; it has " in message
        assert shortlisted in message
    assert (run / "pareto.json").read_text() == before


def test_a_folder_without_a_run(refused, tmp_path):
    assert "holds no run (no manifest.json); start one with" in refused("compress", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_candidates(refused, run):
    (run / "study.db").unlink()
    assert refused("compress", run) == f"{run} holds no candidate yet, so there is no front; continue its search"


def test_an_unknown_device(refused, run):
    assert "--device must be auto, cpu or cuda" in refused("compress", run, "--device", "tpu")
