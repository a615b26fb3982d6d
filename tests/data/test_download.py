import errno
import hashlib
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from erde_nas.data import download as module
from erde_nas.data.download import download
from erde_nas.data.official import Remote
from erde_nas.errors import UserError

BODY = bytes(range(256)) * 4096  # 1 MiB, several reads
NAME = "images.bin"


@pytest.fixture
def remote(server: Any) -> Remote:
    server.files[NAME] = BODY
    return Remote(server.url(NAME), hashlib.md5(BODY).hexdigest(), len(BODY))


def test_whole_file(remote: Remote, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = download(remote, tmp_path, lambda *report: seen.append(report))
    assert path.read_bytes() == BODY
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [NAME]
    assert seen[-1] == (NAME, len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_partial_file_is_continued(server: Any, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(BODY[:1000])
    seen: list[tuple[str, int, int | None]] = []
    assert download(remote, tmp_path, lambda *report: seen.append(report)).read_bytes() == BODY
    assert server.requests == [(NAME, "bytes=1000-")]
    assert seen[-1] == (NAME, len(BODY), len(BODY))


def test_server_without_ranges_sends_it_again(server: Any, remote: Remote, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / f"{NAME}.part").write_bytes(BODY[:1000])
    assert download(remote, tmp_path).read_bytes() == BODY
    assert server.requests == [(NAME, "bytes=1000-")]


def test_partial_file_that_is_too_long_is_thrown_away(server: Any, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(BODY + b"more")
    assert download(remote, tmp_path).read_bytes() == BODY
    assert server.requests == [(NAME, f"bytes={len(BODY) + 4}-"), (NAME, None)]


def test_whole_partial_file_needs_no_request(server: Any, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(BODY)
    assert download(remote, tmp_path).read_bytes() == BODY
    assert server.requests == []


def test_verified_file_needs_no_request(server: Any, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(BODY)
    download(remote, tmp_path)
    assert server.requests == []


def test_truncated_transfer_is_kept_and_continued(server: Any, remote: Remote, tmp_path: Path) -> None:
    server.cut = 300_000
    with pytest.raises(UserError, match=rf"{NAME}: the connection closed after 300000 of {len(BODY)} bytes; .*again"):
        download(remote, tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == BODY[:300_000]
    assert not (tmp_path / NAME).exists()
    server.cut = None
    assert download(remote, tmp_path).read_bytes() == BODY
    assert server.requests[-1] == (NAME, "bytes=300000-")


def test_wrong_range_is_refused(server: Any, remote: Remote, tmp_path: Path) -> None:
    server.shift = 5
    (tmp_path / f"{NAME}.part").write_bytes(BODY[:1000])
    with pytest.raises(UserError, match="asked for the bytes from 1000 on, but got Content-Range 'bytes 1005-"):
        download(remote, tmp_path)


def test_wrong_checksum_leaves_nothing(server: Any, remote: Remote, tmp_path: Path) -> None:
    server.files[NAME] = BODY[:-1] + b"!"
    with pytest.raises(
        UserError, match=rf"expected the MD5 checksum {remote.md5}, but got [0-9a-f]{{32}} \({len(BODY)}"
    ):
        download(remote, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_missing_file_names_the_address(server: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/nowhere.bin: the server answered 404 .*--data-dir"):
        download(Remote(server.url("nowhere.bin"), "0" * 32), tmp_path)


def test_refused_connection_names_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x.bin"
        with pytest.raises(UserError, match=rf"{url}: no connection \(.*refused"):
            download(Remote(url, "0" * 32), tmp_path)


def test_silent_server_runs_into_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.bin"
        with pytest.raises(UserError, match=f"{url}: no connection .*timed out"):
            download(Remote(url, "0" * 32), tmp_path)


def test_too_little_space_is_said_before_the_transfer(
    server: Any, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=rf"needs {len(BODY)} bytes, but only 1000 are free"):
        download(remote, tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_disk_error_names_the_folder(
    number: int, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, *args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(UserError, match=rf"{tmp_path}: cannot write {NAME} .*{os.strerror(number)}"):
        download(remote, tmp_path)


def test_a_download_longer_than_it_should_be_ends_there(server: Any, remote: Remote, tmp_path: Path) -> None:
    server.files[NAME] = BODY + bytes(50_000_000)
    with pytest.raises(UserError, match=f"sends more than the {len(BODY)} bytes of {NAME}; what came was thrown away"):
        download(remote, tmp_path)
    assert list(tmp_path.iterdir()) == [] or [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_server_that_ends_nowhere_is_cut_off(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[NAME] = BODY
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="sends more than the 1000 bytes"):
        download(Remote(server.url(NAME), hashlib.md5(BODY).hexdigest()), tmp_path)
