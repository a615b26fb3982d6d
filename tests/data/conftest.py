"""A file server on this machine whose manners a test can spoil, and small data sets in their official layouts."""

import gzip
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from erde_nas.data.kind import official


@dataclass
class FileServer:
    """Serves `files` (name -> bytes) and notes the requests; `ranges`, `cut` and `shift` are its manners."""

    files: dict[str, bytes]
    base: str = ""
    ranges: bool = True  # understands Range
    cut: int | None = None  # closes the connection after so many bytes of a body
    shift: int = 0  # answers with a range that begins so much later
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # file name, Range

    def url(self, name: str) -> str:
        return f"{self.base}/{name}"


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, span = self.path.lstrip("/"), self.headers.get("Range")
            server.requests.append((name, span))
            body = server.files.get(name)
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and server.ranges else 0
            if body is None:
                self.send_error(404)
            elif start >= len(body) > 0:
                self.send_error(416)
            else:
                self._send(body, start + server.shift if start else 0)

        def _send(self, body: bytes, start: int) -> None:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:][: server.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files = FileServer({})
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(files)) as http:
        files.base = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield files
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory in place of the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ERDE_NAS_CACHE", str(folder))
    return folder


def idx(values: np.ndarray) -> bytes:
    """The bytes of an IDX file with uint8 values."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def write_fashion() -> Callable[..., Path]:
    """Write 40 training and 20 test images whose pixel (row 2, column 3) is the image's number."""

    def write(folder: Path, *, zipped: bool, train_labels: np.ndarray | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for part, count in (("train", 40), ("t10k", 20)):
            images = np.zeros((count, 28, 28), np.uint8)
            images[:, 2, 3] = np.arange(count)
            labels = np.arange(count, dtype=np.uint8) % 10
            if part == "train" and train_labels is not None:
                labels = train_labels
            for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
                data = gzip.compress(idx(values)) if zipped else idx(values)
                (folder / (name + ".gz" * zipped)).write_bytes(data)
        return folder

    return write


@pytest.fixture
def write_cifar() -> Callable[..., Path]:
    """Write CIFAR-10 or CIFAR-100 below `folder`; image i of a file has label i % classes and red corner i."""

    def write(folder: Path, name: str, per_file: int) -> Path:
        classes, label_bytes = (10, 1) if name == "cifar10" else (100, 2)
        target = folder / official()[name].folders[0]
        target.mkdir(parents=True)
        for file in official()[name].needs:
            records = np.zeros((per_file, label_bytes + 3072), np.uint8)
            records[:, label_bytes - 1] = np.arange(per_file) % classes
            records[:, label_bytes:] = np.arange(3072) % 251
            records[:, label_bytes] = np.arange(per_file) % 256
            (target / file).write_bytes(records.tobytes())
        return target

    return write
