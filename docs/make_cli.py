"""Writes docs/cli.md, the reference of the command line, from the help texts: python docs/make_cli.py"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from erde_nas.cli.app import app

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# Command line

Made from the help texts by `python docs/make_cli.py`; a test fails when it is out of date.

Exit codes: 0 done; 1 internal error; 2 user error, with one message on the standard error; 130 interrupted, and the
same command continues.

`erde-nas --install-completion` teaches your shell (bash, zsh, fish or PowerShell) to complete commands, options and the
names of recipes, profiles, losses, data sets and a run's students.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_sections(typer.main.get_command(app), "erde-nas")])


def _sections(command: Any, name: str) -> Iterator[str]:
    """One section per command; a group gives its own and those of its commands."""
    children = getattr(command, "commands", {})
    if not children:
        yield _section(command, name)
        return
    yield f"## `{name}`\n\n{command.help}\n"
    if name == "erde-nas":
        yield _parameters(command)
    for child_name, child in children.items():
        yield from _sections(child, f"{name} {child_name}")


def _section(command: Any, name: str) -> str:
    usage = " ".join([name, *(_usage(p) for p in command.params if p.param_type_name == "argument" or p.required)])
    depth = "##" if name.count(" ") == 1 else "###"
    return f"{depth} `{name}`\n\n{command.help}\n\n    {usage}\n\n{_parameters(command)}".rstrip() + "\n"


def _usage(parameter: Any) -> str:
    word = _word(parameter) if parameter.param_type_name == "argument" else f"{parameter.opts[0]} {_word(parameter)}"
    word += "..." if _repeatable(parameter) else ""
    return word if parameter.required else f"[{word}]"


def _word(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _repeatable(parameter: Any) -> bool:
    return parameter.nargs == -1 or getattr(parameter, "multiple", False)


def _parameters(command: Any) -> str:
    rows = [f"| {_written(p)} | {p.help} | {_default(p)} |" for p in command.params]
    return "\n".join(["| parameter | meaning | default |", "|---|---|---|", *rows, ""]) if rows else ""


def _written(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_word(parameter)}`".replace("|", "\\|")
    value = "" if parameter.is_flag else f" {_word(parameter)}"
    return ", ".join(f"`{option}{value}`".replace("|", "\\|") for option in parameter.opts)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False, ()) else f"`{parameter.default}`"


if __name__ == "__main__":
    PAGE.write_text(render())
