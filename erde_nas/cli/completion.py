"""What the shell offers while a command is typed: names that are quick to find. File names come from the shell."""

from collections.abc import Iterable
from pathlib import Path

import typer

from erde_nas.api import names
from erde_nas.cli.option_values import DEVICES


def recipes(incomplete: str) -> list[str]:
    """The shipped recipes."""
    return _starting(incomplete, names.recipes())


def profiles(incomplete: str) -> list[str]:
    """The shipped hardware profiles."""
    return _starting(incomplete, names.profiles())


def devices(incomplete: str) -> list[str]:
    """Where to train."""
    return _starting(incomplete, DEVICES)


def losses(incomplete: str) -> list[str]:
    """The losses that a recipe may name."""
    return _starting(incomplete, names.losses())


def datasets(incomplete: str) -> list[str]:
    """The data sets that can be fetched."""
    return _starting(incomplete, names.datasets())


def students(ctx: typer.Context, incomplete: str) -> list[str]:
    """The students of the run that the command names."""
    return _starting(incomplete, (path.name for path in _in_run(ctx, "students/*/")))


def run_profiles(ctx: typer.Context, incomplete: str) -> list[str]:
    """The hardware profiles of the run that the command names."""
    return _starting(incomplete, (path.stem for path in _in_run(ctx, "profiles/*.yaml")))


def _in_run(ctx: typer.Context, pattern: str) -> Iterable[Path]:
    """What lies in the folder of a run, the first argument of every command that asks for it.

    It is still among the unread words where the line ends in an option whose value is being typed.
    """
    run = ctx.params.get(ctx.command.params[0].name or "") or next(iter(ctx.args), None)
    return Path(run).glob(pattern) if run else ()


def _starting(incomplete: str, choices: Iterable[str]) -> list[str]:
    return sorted(name for name in choices if name.startswith(incomplete))
