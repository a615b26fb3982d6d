"""A fresh Python process that runs a module of ours, and imports nothing from the folder that the user is in.

`python -m` puts the current folder before the standard library: a `random.py` there would run in the process. Neither
that happens here, nor does an empty entry of PYTHONPATH stand for the current folder.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]  # where the package is, last on the path: a source tree need not be installed
RUN = """\
import sys
sys.path[:] = [place for place in sys.path if place] + [{root!r}]
import runpy
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)"""
SAFE = "PYTHONSAFEPATH"  # Python 3.11: neither the current folder nor that of a script is on the path


def command(module: str, *words: str) -> list[str]:
    """The command line that runs a module as `python -m` would, with `words` behind it."""
    return [sys.executable, "-c", RUN.format(root=str(ROOT), module=module), *words]


def environment(**more: str) -> dict[str, str]:
    """This process's environment for it, and `more`; processes that it starts itself are kept from the folder, too."""
    found = {**os.environ, **more, SAFE: "1"}
    if places := [place for place in found.pop("PYTHONPATH", "").split(os.pathsep) if place]:
        found["PYTHONPATH"] = os.pathsep.join(places)
    return found


@contextmanager
def kept_out() -> Iterator[None]:
    """Processes that other libraries start inside import nothing from the current folder, from Python 3.11 on."""
    before = {name: os.environ.get(name) for name in (SAFE, "PYTHONPATH")}
    safe = environment()
    for name in before:
        _put(name, safe.get(name))
    try:
        yield
    finally:
        for name, value in before.items():
            _put(name, value)


def _put(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
