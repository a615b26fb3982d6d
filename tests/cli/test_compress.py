"""erde-nas compress: further students of a run are finished, pruned, quantized and measured."""

import json
import shlex
import shutil

import pytest


def test_a_student_that_was_not_on_the_shortlist(cli, tiny, run, shortlisted, other, monkeypatch):
    done = cli("compress", run, "--student", other)
    assert done.code == 0, done.err
    report = json.loads((run / "pareto.json").read_text())
    stages = {(point["student"], point["stage"]) for point in report["points"]}
    assert {(shortlisted, "finished"), (other, "finished")} <= stages
    assert (run / "students" / f"{other}-p50" / "model.onnx").is_file()
    assert other in done.out + (run / "report.md").read_text()
    assert cli("export", run, "--student", other, "--to", run.parent / "ship", "--format", "onnx").code == 0

    # The search's own command keeps it.
    monkeypatch.setattr("erde_nas.measurement.failures.measure", None)
    done = cli(*tiny.search(run))
    assert done.code == 0, done.err
    assert json.loads((run / "pareto.json").read_text())["points"] == report["points"]


def test_unknown_students(refused, run, shortlisted, monkeypatch):
    """They are refused before anything is trained."""
    monkeypatch.setattr("erde_nas.pipeline._prepare", None)
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


def test_a_goal_that_the_run_reaches_already(cli, run, shortlisted, monkeypatch):
    """Nothing is trained, measured or written; the fastest student that meets it is named, and how to ship it."""
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    monkeypatch.setattr("erde_nas.pipeline._prepare", None)
    done = cli("compress", run, "--target", "accuracy_drop=0.9")
    assert done.code == 0, done.err
    assert "the run holds a student that reaches the goal already" in done.err
    said, ship = done.out.strip().splitlines()[-2:]
    points = [p for p in json.loads((run / "pareto.json").read_text())["points"] if p["file"]]
    usable = [p for p in points if p["offered"] or p["dominated"]]
    fastest = min(usable, key=lambda p: p["latency_ms"]["quick"]["mean"])
    assert said.startswith(f"Goal reached on quick by {fastest['student']}")
    assert "(wanted: at most 90 below) on validation" in said
    assert f"; {fastest['file']}." in said
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}

    words = shlex.split(ship.removeprefix("To ship it: "))
    assert words[:3] == ["erde-nas", "export", str(run)]
    monkeypatch.chdir(run.parent)
    assert cli(*words[1:]).code == 0
    assert (run.parent / fastest["student"] / "run.py").is_file()


def test_a_goal_that_can_be_reached(cli, run, shortlisted):
    """A student that was asked for, which was not measured yet."""
    (run / "measured.json").unlink()
    done = cli("compress", run, "--target", "accuracy_drop=0.9")
    assert done.code == 0, done.err
    assert "of the channels less is " in done.err
    last = done.out.strip().splitlines()[-2]
    assert last.startswith(f"Goal reached on quick by {shortlisted}")
    assert "(wanted: at most 90 below)" in last
    assert (run / last.rstrip(".").split("; ")[-1].split(". ")[0]).is_file()
    points = json.loads((run / "pareto.json").read_text())["points"]
    quantized = [point for point in points if point["stage"] == "quantized"]
    assert quantized
    assert all(point["quantization"] for point in quantized)
    early = [point for point in points if point["file"] and len(point["exit_fractions"]) > 1]
    assert all(point["latency_ms"]["quick"]["p50_without_exits"] > 0 for point in early)


def test_a_goal_that_nothing_reaches(cli, run, shortlisted):
    """The most pruned student is made on the way, and the nearest one is named; that is a result, not an error."""
    done = cli("compress", run, "--student", shortlisted, "--target", "latency_ms=0.000001", "--target", "size_kb=100")
    assert done.code == 0, done.err
    assert "Goal not reached on quick. The nearest is " in done.out
    assert "no shape reaches the goal on quick; the cheapest is taken, with " in done.err
    assert f"Pruning makes nothing cheaper than {shortlisted}-p" in done.out
    made = {path.name for path in (run / "students").glob(f"{shortlisted}-p*")}
    assert made > {f"{shortlisted}-p50"} or made == {f"{shortlisted}-p50"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "speed=2"], "'speed' is none of latency_ms, speedup, size_kb, accuracy_drop"),
        (["--target", "speedup=fast"], "'fast' is no number"),
        (["--target", "speedup=2", "--profile", "slow"], "has no profile 'slow'; it has quick"),
        (["--profile", "quick"], "--profile quick says what --target is about"),
    ],
)
def test_malformed_targets(refused, run, words, said):
    before = (run / "pareto.json").read_text()
    assert said in refused("compress", run, *words)
    assert (run / "pareto.json").read_text() == before


def test_a_run_without_a_front(refused, run):
    shutil.rmtree(run / "students")
    assert "holds no candidate yet, so there is no front; continue its search" in refused("compress", run)
