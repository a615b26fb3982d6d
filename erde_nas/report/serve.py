"""A page over HTTP, for a browser on this machine: read only, made anew by its owner.

No other page in that browser can read it: the Host header must be a name of this machine, so that a foreign name that
leads here (DNS rebinding) gets nothing, and so must an Origin. Elsewhere than on loopback a random token is needed.
"""

import errno
import hmac
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from erde_nas.errors import UserError
from erde_nas.report.page import LIVE_POLICY

NAMES = ("localhost", "127.0.0.1", "[::1]")
SILENT_S = 10.0  # after which a browser that says nothing is left
HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Shown:
    """A page, HTML, and what changes when there is news in it."""

    version: str
    html: str


class PageServer(ThreadingTCPServer):
    """Serves what `latest` returns at `url`, from `serve_forever` on. Raises UserError where it cannot listen there."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, host: str, port: int, latest: Callable[[], Shown]) -> None:
        self.latest = latest
        self.token = "" if _loopback(host) else secrets.token_urlsafe(24)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UserError(_refused(host, port, error)) from error
        self.port: int = self.server_address[1]
        self._host = f"[{host}]" if ":" in host else host

    @property
    def url(self) -> str:
        """Where a browser finds the page; with the token that it needs there, if any."""
        everywhere = self._host in ("0.0.0.0", "[::]", "")
        name = socket.gethostname() if everywhere else self._host
        return f"http://{name}:{self.port}/{f'?token={self.token}' if self.token else ''}"

    def refusal(self, hosts: list[str], origins: list[str], query: str) -> str:
        """Why a request with these headers gets nothing; empty where it is welcome."""
        if self.token:
            given = parse_qs(query).get("token", [""])[0]
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return "the token of the address that `erde-nas watch` printed is missing or wrong"
        elif len(hosts) != 1 or hosts[0].lower() not in [f"{name}:{self.port}" for name in (*NAMES, self._host)]:
            return f"the page is served as http://127.0.0.1:{self.port}/ alone"
        if any([origin] != [f"http://{host}" for host in hosts] for origin in origins):
            return "the page is for itself alone"
        return ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = SILENT_S
    server_version, sys_version = "erde-nas", ""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        why = self.server.refusal(self.headers.get_all("Host", []), self.headers.get_all("Origin", []), address.query)
        if why:
            self._answer(403, TEXT, why)
        elif address.path == "/":
            self._answer(200, HTML, self.server.latest().html)
        elif address.path == "/version":
            self._answer(200, TEXT, self.server.latest().version)
        else:
            self._answer(404, TEXT, "there is one page, /")

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Of another method, and of what is no HTTP."""
        code = 405 if code == 501 else code
        self._answer(code, TEXT, "the page can be read, and nothing else" if code == 405 else "bad request")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        for key, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{LIVE_POLICY}; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(key, value)
        if code == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is in use; give another one, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"--port {port} is not for every user; give one from 1024 on, or 0 for any that is free"
    return f"--host {host} is no address of this machine: {error.strerror or error}"
