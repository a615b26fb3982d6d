"""`erde-nas distil`: losses compared on one student; it resumes, and bad input is one clear error."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Tiny = Any


@pytest.fixture(scope="module")
def compared(tiny: Tiny, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two losses, two seeds."""
    out = tmp_path_factory.mktemp("compared") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
        done = cli("distil", tiny.recipe, "--loss", "erde", "--loss", "ce", "--seeds", 2, "--out", out)
    assert done.code == 0, done.err
    assert "minus erde" in done.out
    return out


@pytest.fixture(autouse=True)
def cache(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher is trained once for all tests."""
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))


def test_it_writes_tables_a_figure_and_every_run(compared: Path) -> None:
    assert {"distil.json", "distil.md", "distil.csv", "distil.png", "recipe.yaml", "student.json"} <= {
        path.name for path in compared.iterdir()
    }
    rows = list(csv.DictReader((compared / "distil.csv").read_text().splitlines()))
    assert [(row["loss"], row["seed"]) for row in rows] == [("erde", "0"), ("erde", "1"), ("ce", "0"), ("ce", "1")]
    assert rows[0]["accuracy.1"] != rows[1]["accuracy.1"]  # seeds differ
    summary = json.loads((compared / "distil.json").read_text())
    assert summary["dataset"]["name"] == "digits"
    assert len(summary["teacher"]["test_accuracy"]) == 3


def test_it_resumes_and_takes_more_losses_and_seeds(compared: Path, tiny: Tiny, cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.rglob("run.json")}
    done = cli("distil", tiny.recipe, "--loss", "ce", "--loss", "kd:temperature=2", "--seeds", 2, "--out", compared)
    assert done.code == 0, done.err
    after = {path: path.stat().st_mtime_ns for path in compared.rglob("run.json")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2
    assert "minus ce" in done.out


def test_a_damaged_run_is_made_again(compared: Path, tiny: Tiny, cli: Cli) -> None:
    run = next(compared.glob("runs/ce-*/1/run.json"))
    first = _logits(run)
    run.unlink()  # as after kill -9: the logits are there, the record is not
    assert cli("distil", tiny.recipe, "--loss", "ce", "--seeds", 2, "--out", compared).code == 0
    assert (_logits(run) == first).all()  # the same seed trains the same student


def _logits(run: Path) -> np.ndarray:
    with np.load(run.parent / "logits.npz") as arrays:
        return arrays["test"]


def test_a_student_of_a_run(finished: Path, cli: Cli, tmp_path: Path) -> None:
    student = json.loads((finished / "pareto.json").read_text())["points"][0]["student"]
    done = cli("distil", finished, "--student", student, "--loss", "ce", "--seeds", 1, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    arch = json.loads((tmp_path / "out" / "student.json").read_text())
    assert arch == json.loads((finished / "students" / student / "arch.json").read_text())


def test_other_grounds_are_refused(compared: Path, tiny: Tiny, cli: Cli, tmp_path: Path) -> None:
    other = tiny.variant(tmp_path / "other", "students: 1\n  train: {epochs: 2", "students: 1\n  train: {epochs: 4")
    done = cli("distil", other.recipe, "--loss", "ce", "--seeds", 1, "--out", compared)
    assert done.code == 2
    assert "finish differ" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--loss", "kdd"], "there is no loss 'kdd'"),
        (["--student", "abc"], "--student abc needs the folder of a run"),
        (["--device", "tpu"], "--device must be auto, cpu or cuda"),
    ],
)
def test_mistakes_are_one_clear_error(words: list[str], said: str, tiny: Tiny, cli: Cli, tmp_path: Path) -> None:
    done = cli("distil", tiny.recipe, *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert done.err.count("error:") == 1
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_student_and_a_foreign_folder(finished: Path, tiny: Tiny, cli: Cli, tmp_path: Path) -> None:
    done = cli("distil", finished, "--student", "nobody", "--out", tmp_path / "out")
    assert done.code == 2
    assert "holds no student 'nobody'; it has" in done.err
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    done = cli("distil", tiny.recipe, "--out", tmp_path / "foreign")
    assert done.code == 2
    assert "is not empty (thesis.tex) and holds no comparison" in done.err
