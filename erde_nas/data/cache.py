"""Where downloaded data sets live when the user names no folder."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """ERDE_NAS_CACHE, else XDG_CACHE_HOME/erde-nas, else ~/.cache/erde-nas. The folder need not exist yet.

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    own = os.environ.get("ERDE_NAS_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "erde-nas"
