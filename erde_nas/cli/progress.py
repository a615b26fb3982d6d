"""How a command shows what it is doing."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erde_nas.api.progress import Progress


def shown(quiet: bool, json_log: Path | None) -> "Progress":
    """What the API is given as `progress`: `quiet` shows nothing, `json_log` is a file for programs."""
    if json_log is None:
        return not quiet
    from erde_nas.api.progress import nobody
    from erde_nas.progress.meter import Meter

    return Meter(tell=nobody if quiet else None, json_log=json_log)
