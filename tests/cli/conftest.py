"""Every command of these tests keeps its cache away from the user's, and trains as it stands: nothing is calibrated."""

import json
import shutil
from pathlib import Path

import pytest

CALIBRATED = """
import erde_nas.distil.prepare
from erde_nas.distil.training.compute import Compute
erde_nas.distil.prepare.calibrate = lambda *_: Compute("fp32", 1, 0.001)
"""


@pytest.fixture(autouse=True)
def _cache(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> str:
    """Saves the seconds that a new run spends on finding the fastest way to train; the same as code for a child."""
    from erde_nas.distil import prepare
    from erde_nas.distil.training.compute import Compute

    monkeypatch.setattr(prepare, "calibrate", lambda *_: Compute("fp32", 1, 0.001))
    return CALIBRATED


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def refused(cli):
    """Run a command that must end with exit code 2 and one message; returns the message."""

    def check(*words: object) -> str:
        done = cli(*words)
        assert done.code == 2, done
        assert done.out == ""
        assert done.err.count("error: ") == 1, done.err
        assert "Traceback" not in done.err
        return done.err[done.err.index("error: ") :].removeprefix("error: ").rstrip("\n")

    return check


@pytest.fixture
def shortlisted(finished: Path) -> str:
    """The student of the finished run that was trained to the end."""
    return json.loads((finished / "manifest.json").read_text())["halving"][-1]["students"][0]


@pytest.fixture
def other(finished: Path, shortlisted: str) -> str:
    """A candidate of the finished run that was on no rung."""
    started = json.loads((finished / "manifest.json").read_text())["halving"][0]["students"]
    names = sorted(path.name for path in (finished / "students").iterdir())
    return next(name for name in names if not name.startswith(tuple(started)))
