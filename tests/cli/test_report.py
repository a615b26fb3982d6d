"""erde-nas report: the front of a run as a table or as JSON."""

import errno
import json
import os
import subprocess
import sys

import pytest


def test_the_table_and_the_files(cli, run, shortlisted):
    (run / "report.html").unlink()
    (run / "pareto.csv").write_text("")
    done = cli("report", run)
    assert (done.code, done.err) == (0, "")
    assert "quick: onnxruntime, cpu, 1 thread, int8, batch 1" in done.out
    assert shortlisted in done.out
    assert "best student" in done.out
    assert (run / "report.html").stat().st_size > 1000
    assert (run / "pareto.csv").stat().st_size > 100


def test_json_is_pareto_json(cli, run):
    before = json.loads((run / "pareto.json").read_text())
    done = cli("report", run, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == before == json.loads((run / "pareto.json").read_text())


def test_a_folder_without_a_run(refused, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert refused("report", folder) == (
            f"{folder} holds no run; start one with `erde-nas search RECIPE --out {folder}`"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_report_yet_shows_what_it_has(cli, refused, run, shortlisted, tmp_path):
    (run / "pareto.json").unlink()
    done = cli("report", run)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("This run is not finished")
    assert shortlisted in done.out
    assert not (run / "pareto.json").exists()
    assert json.loads(cli("report", run, "--json").out)["unfinished"]
    assert refused("export", run, "--student", shortlisted, "--to", tmp_path / "ship") == (
        f"{run} holds a run without a report yet; continue it with `erde-nas search RECIPE --out {run}`"
    )


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": 1, "points": [', '{"schema": 2}', '{"schema": "x"}'])
def test_a_damaged_report_is_one_line(refused, run, shortlisted, tmp_path, content):
    (run / "pareto.json").write_text(content)
    export = ("export", run, "--student", shortlisted, "--to", tmp_path / "ship", "--format", "onnx")
    for words in (
        ("report", run),
        ("report", run, "--json"),
        export,
        ("compress", run, "--target", "accuracy_drop=0.9"),
    ):
        message = refused(*words).splitlines()[-1]
        assert str(run / "pareto.json") in message
        assert "is damaged" in message or "is of schema 2" in message
    assert not (tmp_path / "ship").exists()


@pytest.mark.parametrize("key", ["points", "teacher", "fronts", "profiles"])
def test_a_report_with_a_bad_value_names_its_key(refused, run, key):
    report = json.loads((run / "pareto.json").read_text())
    (run / "pareto.json").write_text(json.dumps({**report, key: "x"}))
    message = refused("report", run)
    assert message.startswith(f"{run / 'pareto.json'} is damaged: {key}: ")
    assert message.endswith("it keeps what was measured and writes the report anew")


def test_a_run_of_an_earlier_version(cli, run):
    """Points had a label in place of role and reason."""
    report = json.loads((run / "pareto.json").read_text())
    labels = {"teacher": "teacher", "teacher_with_exits": "teacher with its own exits"}
    labels["student_without_exits"] = "best student without exits"
    shown = cli("report", run).out
    for point in [report["teacher"], *report["baselines"], *report["points"]]:
        role, reason, _ = point.pop("role"), point.pop("reason"), point.pop("dominated")
        point["label"] = labels.get(role, reason) + (
            ", int8" if role != "student" and point["stage"] == "quantized" else ""
        )
    (run / "pareto.json").write_text(json.dumps(report))
    files = {name: (run / name).read_bytes() for name in ("report.md", "pareto.csv")}
    done = cli("report", run)
    assert (done.code, done.out) == (0, shown)
    assert files == {name: (run / name).read_bytes() for name in files}


def test_output_that_cannot_be_written(run):
    """Small output fails as late as when Python ends, if nobody looks."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "erde_nas.cli", "recipes", "show", "quickstart"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == f"error: the output: {os.strerror(errno.ENOSPC)}; free space, then run it again\n"


def test_a_reader_that_stops_early():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "erde_nas.cli", "recipes", "show", "quickstart"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == ""
