"""Files that are either whole or absent: written beside their place and moved there in one step."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from erde_nas.errors import UserError

T = TypeVar("T")
RESTORE = "restore it, or use another folder"  # what to do about a damaged file, where there is nothing better


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


def sha256_of(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_temporary(name: str) -> bool:
    """Whether `write_atomic` gave a file this name: one is left behind where the process is killed."""
    return name.startswith(".") and name.endswith(".tmp")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n"))


def checked(path: Path, read: Callable[[], T], remedy: str = RESTORE) -> T:
    """What `read` makes of the content of `path`. Raises UserError where it raises ValueError, as pydantic does."""
    try:
        return read()
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is damaged: {problem(error)}; {remedy}") from error


def read_versioned(path: Path, schema: int, read: Callable[[Any], T], remedy: str = RESTORE) -> T:
    """What `read` makes of the JSON in `path`, whose `schema` is at most `schema`. Raises UserError, as `checked`."""
    values = read_json(path, remedy)
    found = values.get("schema") if isinstance(values, dict) else None
    if isinstance(found, int) and found > schema:
        raise UserError(
            f"{path} is of schema {found}, but this version of erde-nas reads schema {schema}; use the version that "
            "made it, or another folder"
        )
    return checked(path, lambda: read(values), remedy)


def problem(error: Exception) -> str:
    """What an error says, in one line: of pydantic's problems the first, where it is, and how many more there are."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return " ".join(str(error).split()) or type(error).__name__
    first, *others = errors(include_url=False, include_context=False)
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ") + (f", and {len(others)} more" if others else "")
    return f"{where}: {what}" if where else what


def read_json(path: Path, remedy: str = RESTORE) -> Any:
    """The JSON value in `path`. Raises DamagedJson, which ends in `remedy`, for anything else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedJson(f"{path} is damaged ({error}); {remedy}") from error
