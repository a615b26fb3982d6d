"""A search opens no connection that nobody asked for: its processes are watched, from Python and from the kernel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WATCH = """
import os, sys
def _watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "urllib.Request"):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")
sys.addaudithook(_watch)
with open(os.environ["WATCHED"], "a") as file:
    file.write("watched\\n")
"""
INTERNET = re.compile(r"sa_family=AF_INET6?\b.*")


@pytest.mark.slow
def test_a_search_opens_no_connection(tiny, tmp_path):
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    watched, calls = tmp_path / "watched", tmp_path / "calls"
    path = os.pathsep.join([str(tmp_path / "watch"), str(Path(__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": path, "WATCHED": str(watched), "ERDE_NAS_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "erde_nas.cli", *map(str, tiny.search(tmp_path / "run"))]
    if shutil.which("strace"):
        words = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(calls), *words]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = watched.read_text().splitlines()
    assert lines.count("watched") >= 3, "the search and the processes that measure"
    opened = [line for line in lines if line != "watched" and "AF_UNIX" not in line and not _is_local(line)]
    assert not opened
    if calls.exists():
        assert not [line for line in calls.read_text().splitlines() if INTERNET.search(line)]


def _is_local(line: str) -> bool:
    """A socket of the file system, whose address is a path."""
    return line.startswith(("socket.connect", "socket.bind")) and "family=1" in line
