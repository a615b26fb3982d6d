"""Data sets: what is here, and fetching the rest from official addresses."""

from collections.abc import Callable
from pathlib import Path

from erde_nas.data import fetch as fetching


def datasets_table(data_dir: Path | None = None) -> str:
    """Every data set, its origin, size and place, as text."""
    from tabulate import tabulate

    rows = [
        [
            item.name,
            item.origin,
            f"{item.size_bytes / 1e6:.0f} MB" if item.size_bytes else "-",
            item.found or "not here",
        ]
        for item in fetching.list_datasets(data_dir)
    ]
    return tabulate(rows, headers=["data set", "from", "download", "found"], disable_numparse=True)


def fetch(name: str, data_dir: Path | None, progress: Callable[[str, int, int | None], None]) -> Path:
    """Download, verify and unpack a data set; its folder. `progress` hears of a file's bytes: done, and of how many.

    Raises UserError for an unknown one, or one that cannot be had.
    """
    return fetching.fetch(name, data_dir, progress=progress)
