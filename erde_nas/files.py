"""Files that are either whole or absent: written beside their place and moved there in one step."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from erde_nas.errors import UserError


class DamagedJson(UserError, ValueError):
    """A file that should hold JSON does not."""


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path`. Nothing is left behind where it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether `write_atomic` gave a file this name: one is left behind where the process is killed."""
    return name.startswith(".") and name.endswith(".tmp")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n"))


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises DamagedJson for anything else."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DamagedJson(f"{path} is damaged ({error}); restore it, or use another folder") from error
