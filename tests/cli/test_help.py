"""Help and version: for every command, quickly, and without the heavy libraries."""

import subprocess
import sys

import pytest
import typer

from erde_nas import __version__
from erde_nas.cli.app import app

HEAVY = ("torch", "onnx", "onnxruntime", "optuna", "nni", "sklearn", "scipy", "matplotlib")


def commands(command=None, path: tuple[str, ...] = ()):
    """Every (path, command) of the command line, the groups included."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


def test_the_commands_are_those_of_the_design():
    paths = {" ".join(path) for path, _ in commands()}
    assert paths >= {
        "search", "report", "compress", "export", "profile", "predict", "doctor", "recipes list", "recipes show",
        "recipes copy", "recipes check", "profiles list", "profiles show", "profiles copy", "profiles check",
        "profiles detect", "data list", "data fetch",
    }  # fmt: skip


def test_every_command_and_parameter_has_help():
    for path, command in commands():
        assert command.help, path
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)


def test_help_of_every_command_needs_no_heavy_library():
    words = [[*path, "--help"] for path, _ in commands()]
    code = f"""
import sys
from erde_nas.cli.app import app
for words in {words!r}:
    try:
        app(words)
    except SystemExit as stop:
        assert stop.code == 0, words
heavy = sorted(set({HEAVY!r}) & sys.modules.keys())
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(words)


def test_help_text_is_shown(cli):
    done = cli("search", "--help")
    assert done.code == 0
    assert "Search, distil, compress" in done.out
    assert "--epochs-scale" in done.out


def test_version():
    done = subprocess.run(
        [sys.executable, "-m", "erde_nas.cli", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"erde-nas {__version__}\n", "")


def test_no_command_shows_help(cli):
    for words in ((), ("recipes",), ("profiles",), ("data",)):
        done = cli(*words)
        assert done.code == 2
        assert "Usage:" in done.out + done.err


def test_a_mistyped_command_or_option_is_a_user_error(cli):
    for words in (("serach",), ("search", "quickstart"), ("report", "x", "--jsn"), ("search", "x", "--trials", "0")):
        done = cli(*words)
        assert done.code == 2, words
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1, "one line"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serach",), "No such command 'serach'. Did you mean 'search'? See `erde-nas --help`"),
        (("search", "quickstart"), "Missing option '--out'; see `erde-nas search --help`"),
        (
            ("search", "x", "--out", "y", "--trials", "0"),
            "--trials must be a whole number from 1 to 1000000, but got '0'",
        ),
        (("search", "x", "--out", "y", "--trials", "1e3"), "--trials must be a whole number from 1 to"),
        (
            ("search", "x", "--out", "y", "--trials", ""),
            "--trials must be a whole number from 1 to 1000000, but got ''",
        ),
        (("search", "x", "--out", "y", "--trials", "9" * 30), "--trials must be a whole number from 1 to"),
        (
            ("search", "x", "--out", "y", "--seed", "-1"),
            "--seed must be a whole number from 0 to 4294967295, but got '-1'",
        ),
        (("search", "x", "--out", "y", "--seed", "9" * 20), "--seed must be a whole number from 0 to 4294967295"),
        (("search", "x", "--out", "y", "--workers", "0"), "--workers must be a whole number from 1 to"),
        (
            ("search", "x", "--out", "y", "--hours", "nan"),
            "--hours must be hours above 0 and at most 100000, but got 'nan'",
        ),
        (("search", "x", "--out", "y", "--hours", "inf"), "but got 'inf'"),
        (("search", "x", "--out", "y", "--hours", "-2"), "but got '-2'"),
        (("search", "x", "--out", "y", "--epochs-scale", "nan"), "--epochs-scale must be a factor above 0"),
        (("search", "x", "--out", "y", "--epochs-scale", "1e99"), "--epochs-scale must be a factor above 0"),
        (("compress", "x", "--device", "tpu"), "--device must be auto, cpu or cuda, but got 'tpu'"),
        (("distil", "x", "--out", "y", "--seeds", "0"), "--seeds must be a whole number from 1 to 1000, but got '0'"),
        (("distil", "quickstart", "--out", "y", "--loss", "kd:temperature=1e999"), "temperature=inf will not do"),
        (("distil", "quickstart", "--out", "y", "--loss", "kd:temperature=NaN"), "temperature=nan will not do"),
        (("distil", "quickstart", "--out", "y", "--loss", "kd:temperature=-1"), "temperature=-1 will not do"),
    ],
)
def test_every_value_has_words_of_our_own(cli, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, "one line"
    assert said in done.err
    assert "Input should" not in done.err
    assert not list(tmp_path.iterdir())
