"""No process of ours executes a file because it lies in the folder that the user is in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from erde_nas.device import bundle_runner
from erde_nas.device.python_process import command, environment, kept_out
from erde_nas.measurement.agent_file import agent_file

TRAP = "import os\nopen(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'executed'), 'a').write(__name__)\n"
NAMES = ("random", "json", "typing", "runpy", "numpy", "multiprocessing", "erde_nas", "sitecustomize", "usercustomize")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules that leave a mark where one is imported; the current one. PYTHONPATH has an empty entry,
    which is to Python what a `.` is."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(TRAP)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", os.environ.get("PYTHONPATH", ""), ""]))
    return folder


def run(words: list[str], **how) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **how)
    return done.stdout + done.stderr


def test_the_trap_works(trap):
    run([sys.executable, "-m", "erde_nas.device.agent", "nowhere"])
    assert (trap / "executed").exists()


def test_the_measuring_process(trap):
    said = run(command("erde_nas.device.agent", "nowhere"), env=environment())
    assert "nowhere/job.json" in said, "it looked for its job"
    assert not (trap / "executed").exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has no safe path")
def test_processes_of_other_libraries(trap):
    start = [sys.executable, "-c", "import random, multiprocessing.spawn; print(random.random() < 1)"]
    with kept_out():
        assert "True" in run(start)
    assert "PYTHONSAFEPATH" not in os.environ or os.environ["PYTHONSAFEPATH"] == "1"
    assert os.environ["PYTHONPATH"].startswith(os.pathsep), "as it was"
    assert not (trap / "executed").exists()


def test_the_agent_elsewhere(trap, tmp_path):
    """As ssh starts it: in the home folder, as one file."""
    (tmp_path / "agent.pyz").write_bytes(agent_file())
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    said = run([sys.executable, str(tmp_path / "agent.pyz"), "describe"], env=without)
    assert '"cpu"' in said
    assert not (trap / "executed").exists()


@pytest.mark.parametrize("place", ["beside the photos", "in the bundle"])
def test_the_runner_of_a_bundle(trap, tmp_path, place):
    folder = trap if place == "in the bundle" else tmp_path
    shutil.copyfile(bundle_runner.__file__, folder / "run.py")
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    assert "--budget-ms" in run([sys.executable, str(folder / "run.py"), "--help"], env=without)
    assert not (trap / "executed").exists()
