"""A run whose files are damaged: one clear line and exit code 2 from every command that opens it."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def broken(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("content", ["half", "{}", "[]", '{"schema": 1, "hashes": {}}'])
def test_a_damaged_manifest(refused, broken, tiny, content):
    path = broken / "manifest.json"
    cut(path) if content == "half" else path.write_text(content)
    for words in (("compress", broken), tiny.search(broken), ("distil", broken, "--out", broken / "losses")):
        message = refused(*words)
        assert message.startswith(f"{path} is damaged"), words
        assert message.endswith("restore it, or use another folder")


def test_a_manifest_of_a_later_version(refused, broken):
    path = broken / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2', 1))
    assert refused("compress", broken) == (
        f"{path} is of schema 2, but this version of erde-nas reads schema 1; use the version that made it, or another "
        "folder"
    )


def test_damaged_metrics_of_a_student(refused, broken, shortlisted):
    path = broken / "students" / shortlisted / "metrics.json"
    cut(path)
    assert refused("compress", broken).startswith(f"{path} is damaged")


def test_a_damaged_rank_check(refused, broken, tiny):
    (broken / "rank_check.json").write_text('{"a": {"full": "high"}}')
    message = refused(*tiny.search(broken))
    assert message.startswith(f"{broken / 'rank_check.json'} is damaged: a.full: Input should be a valid number")
