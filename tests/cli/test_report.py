"""erde-nas report: the front of a run as a table or as JSON."""

import errno
import json
import os
import subprocess
import sys


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


def test_a_run_without_a_report_yet(refused, run):
    (run / "pareto.json").unlink()
    assert refused("report", run) == (
        f"{run} holds a run without a report yet; continue it with `erde-nas search RECIPE --out {run}`"
    )


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
