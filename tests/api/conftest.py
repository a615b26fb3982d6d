"""A copy of the finished run, and a cache of its own for whatever trains."""

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _cache(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def shortlisted(finished: Path) -> str:
    """The student of the finished run that was trained to the end."""
    return json.loads((finished / "manifest.json").read_text())["halving"][-1]["students"][0]
