"""Locks on the cores of this machine, between the processes of one user: which core is whose.

They are files in a folder of the user's own for temporary files. In a folder that every user may write to, another may
have made a folder or link of that name before: what is not ours, or may be written to by others, is not used.
"""

import os
import stat
import tempfile
from pathlib import Path

NAME = "erde-nas-cores"


def locks_folder() -> Path | None:
    """The folder, which is made where it is absent; None where there is none that is this user's alone."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [Path(runtime) / NAME] if Path(runtime).is_absolute() else []
    for folder in (*places, Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        except OSError:
            continue
        if _is_own(folder):
            return folder
    return None


def _is_own(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


class CoreLock:
    """A core that this process has, until it lets go of it or ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)


def lock_core(folder: Path, core: int) -> CoreLock | None:
    """The lock on a core; None where another process has it, or its file is a link or cannot be opened."""
    import fcntl

    try:
        descriptor = os.open(folder / str(core), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return CoreLock(descriptor)
