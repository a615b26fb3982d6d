"""Downloads one file: resumable, verified, in place only when whole.

The bytes go to NAME.part, which a later call continues with an HTTP range request (RFC 9110, section 14). Only a file
with the right checksum is renamed to NAME.
"""

import hashlib
import http.client
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from erde_nas.data.official import Remote
from erde_nas.errors import UserError

Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all if known
TIMEOUT_S = 30.0  # for connecting and for every single read
_CHUNK_BYTES = 1 << 18
MOST_BYTES = 50_000_000_000  # of a file whose size is not known
DIGITS = 16  # of a length that a server may announce


def download(remote: Remote, folder: Path, progress: Progress | None = None) -> Path:
    """Put the file of `remote` into `folder` and return its path; bytes that are already there are not asked for again.

    Raises UserError on network and disk errors (what has arrived is kept and continued) and on a wrong checksum
    (what has arrived is thrown away).
    """
    path = folder / remote.filename
    part = path.with_name(path.name + ".part")
    try:
        if path.exists() and _md5(path) == remote.md5:
            return path
        _check_space(remote, part)
        if not remote.size_bytes or _size(part) != remote.size_bytes:
            _transfer(remote, part, progress)
        _verify(remote, part)
        os.replace(part, path)
    except OSError as error:  # network errors have become UserErrors further down
        raise UserError(
            f"{folder}: cannot write {remote.filename} ({error}); free some space there or name another folder "
            "with --data-dir DIR, then run the same command again"
        ) from error
    return path


def _transfer(remote: Remote, part: Path, progress: Progress | None) -> None:
    """Append to `part` what is missing, or write it anew if the server cannot continue where it ends."""
    start = _size(part)
    with _open(remote.url, start) as response:
        appends = _is_continuation(response, start, remote.url)
        done = start if appends else 0
        left = response.headers.get("Content-Length", "")
        announced = done + int(left) if left.isdecimal() and len(left) < DIGITS else None
        total, most = announced or remote.size_bytes or None, remote.size_bytes or MOST_BYTES
        with part.open("ab" if appends else "wb") as file:
            for chunk in _chunks(response, remote.url):
                done += len(chunk)
                if done > most:
                    break
                file.write(chunk)
                if progress:
                    progress(remote.filename, done, total)
    if done > most:
        part.unlink()
        raise _too_long(remote, most)
    if total is not None and done < total:
        raise _broken(remote.url, f"the connection closed after {done} of {total} bytes")


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """The response from byte `start` on, or from the beginning where the server has no such range."""
    request = Request(url, headers={"User-Agent": "erde-nas", **({"Range": f"bytes={start}-"} if start else {})})
    try:
        return urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return _open(url, 0)
        raise UserError(
            f"{url}: the server answered {error.code} {error.reason}; try again later, or fetch and "
            "unpack the file yourself and name its folder with --data-dir DIR"
        ) from error
    except (URLError, OSError, http.client.HTTPException) as error:
        raise _broken(url, f"no connection ({getattr(error, 'reason', None) or error})") from error


def _is_continuation(response: http.client.HTTPResponse, start: int, url: str) -> bool:
    """Whether the body begins at byte `start`; False if it is the whole file."""
    if response.status != http.client.PARTIAL_CONTENT:
        return False
    span = response.headers.get("Content-Range", "")
    if not span.startswith(f"bytes {start}-"):
        raise _broken(url, f"asked for the bytes from {start} on, but got Content-Range '{span}'")
    return True


def _chunks(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _broken(url, f"the connection broke ({error})") from error
        if not chunk:
            return
        yield chunk


def _verify(remote: Remote, part: Path) -> None:
    got = _md5(part)
    if got != remote.md5:
        size = _size(part)
        part.unlink()  # continuing it would fail again
        raise UserError(
            f"{remote.url}: expected the MD5 checksum {remote.md5}, but got {got} ({size} bytes); the file was thrown "
            "away, run the same command again, or fetch and unpack it yourself and name its folder with --data-dir DIR"
        )


def _check_space(remote: Remote, part: Path) -> None:
    needed, free = remote.size_bytes - _size(part), shutil.disk_usage(part.parent).free
    if free < needed:
        raise UserError(
            f"{part.parent}: {remote.filename} needs {needed} bytes, but only {free} are free; make room or name "
            "another folder with --data-dir DIR"
        )


def _broken(url: str, what: str) -> UserError:
    return UserError(
        f"{url}: {what}; check the network and run the same command again, it goes on where it stopped, or fetch and "
        "unpack the file yourself and name its folder with --data-dir DIR"
    )


def _too_long(remote: Remote, most: int) -> UserError:
    return UserError(
        f"{remote.url}: the server sends more than the {most} bytes of {remote.filename}; what came was thrown away, "
        "try again later, or fetch and unpack the file yourself and name its folder with --data-dir DIR"
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
