"""Files are whole or absent, and nothing lies about after a failure."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from erde_nas.files import (
    Scratch,
    is_temporary,
    read_json,
    sweep_scratch,
    sweep_temporary,
    write_atomic,
    write_json,
)


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    for text in ("first", "second, longer"):
        write_atomic(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text
        assert listing(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("before", [None, "kept"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException], before: str | None) -> None:
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_text(before)

    def fail(temporary: Path) -> None:
        temporary.write_text("half of it")
        assert is_temporary(temporary.name)
        assert temporary.parent == tmp_path  # a move from elsewhere would be a copy, and could stop half way
        raise error

    with pytest.raises(error):
        write_atomic(path, fail)
    assert listing(tmp_path) == ([] if before is None else ["file.txt"])
    assert before is None or path.read_text() == before


def test_a_failure_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_atomic(tmp_path / "file.txt", lambda temporary: 1 // 0)
    assert listing(tmp_path) == []


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, done = tmp_path / "value.json", threading.Event()
    write_json(path, [0] * 5000)

    def write() -> None:
        for number in range(40):
            write_json(path, [number] * 5000)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert len(set(read_json(path))) == 1
    writer.join()
    assert read_json(path) == [39] * 5000


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"text": "ü – \n", "list": [1, 2.5, None, True], "tiny": 5e-324, "third": 1 / 3}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert json.loads((tmp_path / "value.json").read_bytes().decode("ascii")) == value


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "value.json", {"set": {1}})
    assert read_json(tmp_path / "value.json") == 1
    assert listing(tmp_path) == ["value.json"]


@pytest.mark.parametrize(("name", "temporary"), [(".a.json.12.tmp", True), ("a.tmp", False), (".lock", False)])
def test_temporary_names(name: str, temporary: bool) -> None:
    assert is_temporary(name) == temporary


HOLDER = """
import sys, time
from erde_nas.files import Scratch
with Scratch(dir=sys.argv[1]) as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


def test_only_what_killed_processes_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("erde_nas.files.YOUNG_S", 0.0)
    stranger = tmp_path / "erde-nas-runs"
    stranger.mkdir()
    (tmp_path / "link-target").mkdir()
    (tmp_path / "erde-nas-run-link").symlink_to(tmp_path / "link-target")
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child, Scratch(dir=tmp_path) as own:
        assert child.stdout is not None
        theirs = Path(child.stdout.readline().strip())
        sweep_scratch(tmp_path)
        assert theirs.is_dir()
        assert Path(own).is_dir()
        child.kill()
        child.wait()
        sweep_scratch(tmp_path)
        assert not theirs.exists()
        assert Path(own).is_dir()
    assert not Path(own).exists()
    assert stranger.is_dir()
    assert (tmp_path / "link-target").is_dir()


def test_a_folder_that_is_just_made_is_left_alone(tmp_path):
    (tmp_path / "erde-nas-run-new").mkdir()
    sweep_scratch(tmp_path)
    assert (tmp_path / "erde-nas-run-new").is_dir()


def test_temporary_files_are_swept_at_any_depth(tmp_path):
    (tmp_path / "students" / "a").mkdir(parents=True)
    left, kept = tmp_path / "students" / "a" / ".model.onnx.12.tmp", tmp_path / "students" / "a" / "mine.tmp"
    left.touch(), kept.touch()
    sweep_temporary(tmp_path)
    assert (left.exists(), kept.exists()) == (False, True)
