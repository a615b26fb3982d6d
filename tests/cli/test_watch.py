"""erde-nas watch: what it says, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request


def test_it_serves_until_ctrl_c(finished):
    command = [sys.executable, "-m", "erde_nas.cli", "watch", str(finished), "--no-browser"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    found = re.fullmatch(rf"{re.escape(str(finished))} is shown at (http://127\.0\.0\.1:\d+/) until Ctrl\+C\n", line)
    assert found, (line, child.stderr)
    with urllib.request.urlopen(found[1], timeout=60) as answer:
        assert b"What is offered" in answer.read()
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 0


def test_what_it_refuses(refused, finished, tmp_path):
    assert "holds no run" in refused("watch", tmp_path, "--no-browser")
    assert "--port must be a whole number from 0 to 65535" in refused("watch", finished, "--port", "70000")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port} is in use" in refused("watch", finished, "--no-browser", "--port", port)
