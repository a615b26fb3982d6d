"""The commands `erde-nas data`: what is here, and fetching the rest with a bar for each file."""

from pathlib import Path
from typing import Annotated

import typer

from erde_nas.cli import completion, options
from erde_nas.cli.exit_codes import continuable

data = typer.Typer(no_args_is_help=True, help="Data sets: what is here, and fetching the rest.")


@data.command("list")
def data_list(data_dir: options.DataDir = None) -> None:
    """Data sets, where they come from, and which are here."""
    from erde_nas.api.datasets import datasets_table

    print(datasets_table(data_dir))


@data.command("fetch")
def data_fetch(
    name: Annotated[
        str, typer.Argument(autocompletion=completion.datasets, help="Name of a data set; see `erde-nas data list`.")
    ],
    data_dir: options.DataDir = None,
) -> None:
    """Download a data set from its official address, verify it, and unpack it."""
    with continuable():
        print(_fetch(name, data_dir))


def _fetch(name: str, data_dir: Path | None) -> Path:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from erde_nas.api.datasets import fetch

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def on_bytes(file: str, done: int, total: int | None) -> None:
        if file not in tasks:
            bar.start()  # not before: what is here already, or unknown, shows no bar
            tasks[file] = bar.add_task(file, total=total)
        bar.update(tasks[file], completed=done, total=total)

    try:
        return fetch(name, data_dir, on_bytes)
    finally:
        if tasks:
            bar.stop()
