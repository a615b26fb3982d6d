"""The agent as a single file, for a machine that has Python, numpy and the runtime but no erde-nas."""

import io
import shutil
import zipapp
import zipfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from erde_nas.files import Scratch
from erde_nas.registry import ON_DEVICES

PACKAGE = Path(__file__).parents[1]
PARTS = ("__init__.py", "errors.py", "registry.py", "device")  # of the package; they import nothing else of it
LEAST_PYTHON = (3, 10)

START = f"""\
import sys

if sys.version_info < {LEAST_PYTHON}:  # before anything that an older Python cannot read
    print('{{"error": "python", "text": "%d.%d"}}' % sys.version_info[:2])
    sys.exit(0)

import os

here = ("", os.getcwd())  # nothing is imported from the folder that ssh starts in
sys.path[1:] = [place for place in sys.path[1:] if place not in here]

from erde_nas.device.agent.elsewhere import main

main(sys.argv[1:])
"""


def agent_file() -> bytes:
    """A zip archive that Python runs: `python3 FILE describe` (see `erde_nas.device.agent.elsewhere`).

    The runtimes and exit rules of plug-ins are in it with the Python files of their packages, and as entry points, so
    that the agent finds them as it would where the plug-ins are installed.
    """
    return _archive(
        tuple((names.group, name, plugin.at) for names in ON_DEVICES for name, plugin in names.plugins().items())
    )


@cache
def _archive(plugins: tuple[tuple[str, str, str], ...]) -> bytes:
    """The archive with plug-ins: (group, name, "module:attribute")."""
    with Scratch() as name:
        package = Path(name) / "agent" / PACKAGE.name
        package.mkdir(parents=True)
        for part in PARTS:
            if (PACKAGE / part).is_dir():
                shutil.copytree(
                    PACKAGE / part, package / part, ignore=shutil.ignore_patterns("__pycache__", "bundle_runner.py")
                )
            else:
                shutil.copyfile(PACKAGE / part, package / part)
        for module in sorted({at.partition(":")[0].partition(".")[0] for _, _, at in plugins} - {PACKAGE.name}):
            _copy_module(module, package.parent)
        if plugins:
            _write_entry_points(plugins, package.parent / "erde_nas_plugins-0.dist-info")
        (package.parent / "__main__.py").write_text(START)
        archive = io.BytesIO()
        zipapp.create_archive(package.parent, archive, compressed=True)
    return archive.getvalue()


def _copy_module(name: str, folder: Path) -> None:
    """The Python files of a module or package. One that is not found is left out: the agent says so when it is used."""
    found = find_spec(name)
    for place in (found.submodule_search_locations or ()) if found else ():
        for path in Path(place).rglob("*.py"):
            target = folder / name / path.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    if found and not found.submodule_search_locations and found.origin and found.origin.endswith(".py"):
        shutil.copyfile(found.origin, folder / f"{name}.py")


def _write_entry_points(plugins: Sequence[tuple[str, str, str]], folder: Path) -> None:
    """What says in an installed package which names it adds."""
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: erde-nas-plugins\nVersion: 0\n")
    points = "".join(f"[{group}]\n{name} = {at}\n" for group, name, at in plugins)
    (folder / "entry_points.txt").write_text(points)


def pack(folder: Path) -> bytes:
    """The files of a job as the agent receives them: eight bytes with the length, then a zip archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:  # weights do not compress
        for path in sorted(folder.rglob("*")):
            files.write(path, path.relative_to(folder))
    content = archive.getvalue()
    return len(content).to_bytes(8, "big") + content
