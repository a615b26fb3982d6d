"""The server of the page: who gets it, who does not, and that it can only be read."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from erde_nas.errors import UserError
from erde_nas.report.serve import PageServer, Shown


@contextmanager
def served(host: str = "127.0.0.1") -> Iterator[PageServer]:
    with PageServer(host, 0, lambda: Shown("v1", "<p>é</p>")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with served() as found:
        yield found


def ask(server: PageServer, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    host = headers.pop("Host", f"127.0.0.1:{server.port}").replace("PORT", str(server.port))
    sent = {"Host": host, **{key: value.replace("PORT", str(server.port)) for key, value in headers.items()}}
    connection.request(method, path, headers=sent)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), dict(answer.getheaders())
    connection.close()
    return found


def test_the_page_and_its_version(server: PageServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    code, text, headers = ask(server)
    assert (code, text, headers["Content-Type"]) == (200, "<p>é</p>", "text/html; charset=utf-8")
    assert headers["Content-Length"] == "9"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(server, "/version")[:2] == (200, "v1")
    assert ask(server, "/?x=1")[0] == 200
    for path in ("/etc/passwd", "/../manifest.json", "/report.html"):
        assert ask(server, path)[0] == 404, path


def test_head_is_get_without_its_text(server: PageServer) -> None:
    code, text, headers = ask(server, method="HEAD")
    assert (code, text, headers["Content-Length"]) == (200, "", "9")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "ERDE"])
def test_it_can_only_be_read(server: PageServer, method: str) -> None:
    code, _, headers = ask(server, method=method)
    assert (code, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("host", ["localhost:PORT", "127.0.0.1:PORT", "[::1]:PORT", "LOCALHOST:PORT"])
def test_names_of_this_machine(server: PageServer, host: str) -> None:
    assert ask(server, Host=host)[0] == 200
    assert ask(server, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("path", ["/", "/version", "/nothing"])
@pytest.mark.parametrize(
    "host", ["evil.example:PORT", "evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:PORT", ""]
)
def test_another_host_gets_nothing(server: PageServer, host: str, path: str) -> None:
    code, text, _ = ask(server, path, Host=host)
    assert code == 403
    assert "é" not in text
    assert "v1" not in text


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:PORT", "http://127.0.0.1:1", "http://localhost:PORT", ""],
)
def test_another_origin_gets_nothing(server: PageServer, origin: str) -> None:
    assert ask(server, Origin=origin)[0] == 403


def test_elsewhere_a_token_is_needed() -> None:
    with served("0.0.0.0") as server, served("0.0.0.0") as other:
        assert server.url.endswith(f":{server.port}/?token={server.token}")
        assert len(server.token) >= 32
        assert server.token != other.token
        for query in ("", "?token=", "?token=x", f"?token={server.token}x", f"?token={other.token}", "?token=%C3%A9"):
            for path in ("/", "/version"):
                assert ask(server, path + query)[0] == 403, query
        good = f"?token={server.token}"
        assert ask(server, "/" + good)[:2] == (200, "<p>é</p>")
        assert ask(server, "/version" + good, Host="board.local:PORT")[:2] == (200, "v1")
        assert ask(server, "/" + good, Origin="http://evil.example")[0] == 403
        assert ask(server, "/" + good, method="POST")[0] == 405


def test_what_is_no_http_gets_an_answer_too(server: PageServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.connect()
    connection.sock.sendall(b"<script>\x00\r\n\r\n")
    answer = connection.sock.recv(4096)
    connection.close()
    assert b"<script>" not in answer
    assert ask(server)[0] == 200


def test_where_it_cannot_listen(server: PageServer) -> None:
    with pytest.raises(UserError, match=f"--port {server.port} is in use; give another one"):
        PageServer("127.0.0.1", server.port, server.latest)
    with pytest.raises(UserError, match=r"--host 192\.0\.2\.1 is no address of this machine"):
        PageServer("192.0.2.1", 0, server.latest)
