"""The cache directory: downloaded data sets, trained teachers and their logits. All of it can be made again."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from erde_nas.errors import UserError

LOCK_POLL_S = 0.2


def cache_dir() -> Path:
    """ERDE_NAS_CACHE, else XDG_CACHE_HOME/erde-nas, else ~/.cache/erde-nas. The folder need not exist yet.

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    own = os.environ.get("ERDE_NAS_CACHE")
    if own:
        try:
            return Path(own).expanduser()
        except RuntimeError:
            raise UserError(f"ERDE_NAS_CACHE is {own}, but there is no such home folder; name it in full") from None
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "erde-nas"


@contextmanager
def only_writer(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """While this runs, no other process makes the cache entry `path`: they wait here, and then find it made.

    The operating system holds the lock for as long as the process lives, so a killed one blocks nobody. `say` hears of
    a wait. Where the file system knows no locks, nobody waits: two processes then do the same work twice.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # an OSError too
            say(f"another process is making {path}; waiting for it")
            lock.acquire(poll_interval=LOCK_POLL_S)
    except NotImplementedError:
        yield
        return
    except OSError as error:
        raise UserError(
            f"{path.parent} cannot be used as a cache ({error.strerror}); set ERDE_NAS_CACHE to a folder of your own"
        ) from error
    try:
        for left in [*path.parent.glob(f".{path.name}.*.tmp"), *path.glob(".*.tmp")]:  # of a writer that was killed
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
