import threading
from pathlib import Path

import pytest

from erde_nas import cache as module
from erde_nas.cache import cache_dir, only_writer
from erde_nas.errors import UserError


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/a/own", "/b/xdg", "/a/own"),
        (None, "/b/xdg", "/b/xdg/erde-nas"),
        ("", "/b/xdg", "/b/xdg/erde-nas"),
        (None, "relative", "/c/home/.cache/erde-nas"),
        (None, None, "/c/home/.cache/erde-nas"),
        ("~/own", None, "/c/home/own"),
    ],
)
def test_order_of_precedence(own: str | None, xdg: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/c/home")
    for name, value in (("ERDE_NAS_CACHE", own), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)


def test_one_writer_at_a_time_and_the_others_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_POLL_S", 0.01)
    entry, said, done = tmp_path / "new" / "entry", [], []
    waits = threading.Event()

    def second() -> None:
        with only_writer(entry, lambda text: (said.append(text), waits.set())):
            done.append("second")

    thread = threading.Thread(target=second)
    with only_writer(entry, said.append):
        thread.start()
        assert waits.wait(30)
        done.append("first")
    thread.join(30)
    assert done == ["first", "second"]
    assert said == [f"another process is making {entry}; waiting for it"]
    with only_writer(tmp_path / "new" / "another", said.append), only_writer(entry, said.append):
        assert len(said) == 1


def test_a_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "entry", said.append):
            raise ZeroDivisionError
    assert said == []


def test_without_locks_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(module.FileLock, "acquire", acquire)
    done = []
    with only_writer(tmp_path / "entry", done.append), only_writer(tmp_path / "entry", done.append):
        done.append("inside")
    assert done == ["inside"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"file/below cannot be used as a cache \(Not a directory\); set ERDE_NAS_CACHE to a folder of your own"
    with pytest.raises(UserError, match=message), only_writer(tmp_path / "file" / "below" / "entry", print):
        pass
