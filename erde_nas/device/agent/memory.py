"""Peak memory of a process that loads one student and runs it: a child of its own for each student."""

import json
import os
import sys
from collections.abc import Callable

from erde_nas.device.agent.job import PeakMemory


def peak_memory(use: Callable[[], object]) -> PeakMemory | None:
    """Bytes that a child process held before `use` and at its peak; None where a child cannot be made or fails.

    Call it before a runtime has started threads: a child has none of its parent's.
    """
    if not hasattr(os, "fork"):
        return None
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            before = _peak_bytes()
            use()
            os.write(writing, json.dumps([before, _peak_bytes()]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return PeakMemory(*json.loads(text)) if text else None


def _peak_bytes() -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
