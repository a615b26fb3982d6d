"""Help and version: for every command, quickly, and without the heavy libraries."""

import subprocess
import sys

import typer

from erde_nas import __version__
from erde_nas.cli import app

HEAVY = ("torch", "onnx", "onnxruntime", "optuna", "nni", "sklearn", "scipy", "matplotlib", "plotly")


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
from erde_nas.cli import app
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
        assert "Error" in done.err
        assert "Traceback" not in done.err
