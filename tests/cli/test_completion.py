"""What the shell offers while a command is typed, in the words that bash would pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from erde_nas.data.kind import official
from erde_nas.recipe.distil import LOSSES
from erde_nas.recipe.shipped import shipped


@pytest.fixture
def offered(cli, monkeypatch: pytest.MonkeyPatch):
    """The offers for the last of the given words."""

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_ERDE_NAS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["erde-nas", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        done = cli()
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return complete


@pytest.fixture
def students(tmp_path: Path) -> Path:
    """The folder of a run, as far as completion reads it."""
    for name in ("0a1", "0b2", "c3"):
        (tmp_path / "students" / name).mkdir(parents=True)
    (tmp_path / "students" / "notes.txt").touch()
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "kitchen.yaml").touch()
    return tmp_path


def test_commands_and_options(offered):
    assert {"search", "report", "recipes", "profiles", "data"} <= set(offered(""))
    assert offered("recipes", "c") == ["copy", "check"]
    assert {"--out", "--trials", "--workers"} <= set(offered("search", "quickstart", "--"))


def test_recipes_and_profiles(offered):
    recipes, profiles = sorted(shipped("search")), sorted(shipped("profiles"))
    for words in (("search",), ("distil",), ("recipes", "show"), ("recipes", "copy"), ("recipes", "check")):
        assert offered(*words, "") == recipes
    for words in (("search", "quickstart", "--profile"), ("profile", "x.onnx", "--profile"), ("profiles", "show"),
                  ("profiles", "copy"), ("profiles", "check")):  # fmt: skip
        assert offered(*words, "") == profiles
    assert offered("search", "quicks") == ["quickstart"]
    assert offered("search", "./mine") == [], "nothing of ours: the shell goes on with file names"


def test_losses_devices_and_data_sets(offered):
    assert offered("distil", "quickstart", "--loss", "") == sorted(LOSSES)
    assert offered("compress", "run", "--device", "c") == ["cpu", "cuda"]
    assert offered("data", "fetch", "") == sorted(official())


def test_students_and_profiles_are_those_of_the_run(offered, students: Path):
    run = str(students)
    for command in ("export", "compress", "distil"):
        assert offered(command, run, "--student", "") == ["0a1", "0b2", "c3"]
    assert offered("compress", run, "--student", "c3", "--student", "0") == ["0a1", "0b2"]
    assert offered("export", run, "--to", "bundle", "--student", "0b") == ["0b2"]
    assert offered("compress", run, "--profile", "") == ["kitchen"]
    assert offered("export", str(students / "absent"), "--student", "") == []
    assert offered("export", "--student", "") == []


def test_a_mistake_earlier_in_the_line_does_not_matter(offered):
    assert offered("search", "--trials", "0", "--device", "tpu", "quicks") == ["quickstart"]


def test_bash_runs_the_script_that_is_shown(tmp_path: Path):
    program = tmp_path / "erde-nas"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m erde_nas.cli "$@"\n')
    program.chmod(0o755)
    commands = f"""
PATH={tmp_path}:$PATH
eval "$(erde-nas --show-completion bash)"
COMP_WORDS=(erde-nas search quicks) COMP_CWORD=2
$(complete -p erde-nas | sed 's/.*-F \\([^ ]*\\).*/\\1/') erde-nas
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "quickstart\n", "")
