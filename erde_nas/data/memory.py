"""How much memory there is for images."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Memory that can be had without swapping: the machine's, or less where a container allows less (cgroup v2)."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        statistics = (CGROUP / "memory.stat").read_text().split()
        cached = int(statistics[statistics.index("inactive_file") + 1])
    except (OSError, ValueError):  # no container, or "max"
        return available
    return max(0, min(available, limit - used + cached))


def readable(size: float) -> str:
    """Bytes in words, with powers of 1000: 1.23 GB."""
    for unit in ("bytes", "kB", "MB"):
        if round(size) < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB" if size < 1000 else f"{size:.0f} GB"
