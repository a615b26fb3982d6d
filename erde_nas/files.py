"""Files that are either whole or absent: written beside their place and moved there in one step."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from erde_nas.errors import UserError

T = TypeVar("T")
SCRATCH = "erde-nas-run-"  # how temporary folders begin
YOUNG_S = 60.0  # a younger one may have no lock yet
MOST_JSON = 200_000_000  # bytes; the largest of ours, of thousands of candidates, take a tenth
RESTORE = "restore it, or use another folder"  # what to do about a damaged file, where there is nothing better


class DamagedJson(UserError, ValueError):
    """A file that should hold JSON does not."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with the home folder in place of a leading `~`. Raises UserError where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: there is no home folder of that name ({error}); write the path in full") from None


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


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock that is this file; the file stays as it is."""
    if fcntl is None:
        return False
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file
        return False
    return False


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
        with path.open("rb") as file:
            text = file.read(MOST_JSON + 1)
        if len(text) > MOST_JSON:
            raise ValueError(f"it is larger than {MOST_JSON} bytes")
        return json.loads(text.decode("utf-8"))
    except IsADirectoryError as error:
        raise DamagedJson(f"{path} is damaged (it is a folder); {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedJson(f"{path} is damaged ({error}); {remedy}") from error


class Scratch(tempfile.TemporaryDirectory[str]):
    """A temporary folder that is locked while it is used, so that `sweep_scratch` can tell it from what a killed
    process has left."""

    def __init__(self, prefix: str = SCRATCH, dir: str | Path | None = None) -> None:
        super().__init__(prefix=prefix, dir=dir)
        self._lock = _locked(Path(self.name))

    def cleanup(self) -> None:
        """Remove it."""
        super().cleanup()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep_scratch(place: Path | None = None, prefix: str = SCRATCH) -> None:
    """Remove the folders of `Scratch` in `place`, by default that for temporary files, that nobody uses any more."""
    for folder in (place or Path(tempfile.gettempdir())).glob(f"{prefix}*"):
        with suppress(OSError):
            if time.time() - folder.lstat().st_mtime > YOUNG_S and (lock := _locked(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def sweep_temporary(folder: Path) -> None:
    """Remove what `write_atomic` left below a folder that nobody else writes to, of processes that were killed."""
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the lock of a folder of this user until it is closed; None where it cannot be had.

    The system releases it however the process ends.
    """
    if fcntl is None:
        return None
    handle = -1
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(handle).st_uid == os.getuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
    except OSError:  # somebody else's, in use, or a file system without locks
        pass
    if handle >= 0:
        os.close(handle)
    return None
