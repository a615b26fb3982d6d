"""The agent as a single file, for a machine that has Python, numpy and the runtime but no erde-nas."""

import io
import shutil
import zipapp
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = Path(__file__).parents[1]
PARTS = ("__init__.py", "errors.py", "registry.py", "device")  # of the package; they import nothing else of it
LEAST_PYTHON = (3, 10)

START = f"""\
import sys

if sys.version_info < {LEAST_PYTHON}:  # before anything that an older Python cannot read
    print('{{"error": "python", "text": "%d.%d"}}' % sys.version_info[:2])
    sys.exit(0)

from erde_nas.device.agent.elsewhere import main

main(sys.argv[1:])
"""


@cache
def agent_file() -> bytes:
    """A zip archive that Python runs: `python3 FILE describe` (see `erde_nas.device.agent.elsewhere`)."""
    with TemporaryDirectory(prefix="erde-nas-") as name:
        package = Path(name) / "agent" / PACKAGE.name
        package.mkdir(parents=True)
        for part in PARTS:
            if (PACKAGE / part).is_dir():
                shutil.copytree(
                    PACKAGE / part, package / part, ignore=shutil.ignore_patterns("__pycache__", "bundle_runner.py")
                )
            else:
                shutil.copyfile(PACKAGE / part, package / part)
        (package.parent / "__main__.py").write_text(START)
        archive = io.BytesIO()
        zipapp.create_archive(package.parent, archive, compressed=True)
    return archive.getvalue()


def pack(folder: Path) -> bytes:
    """The files of a job as the agent receives them: eight bytes with the length, then a zip archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:  # weights do not compress
        for path in sorted(folder.rglob("*")):
            files.write(path, path.relative_to(folder))
    content = archive.getvalue()
    return len(content).to_bytes(8, "big") + content
