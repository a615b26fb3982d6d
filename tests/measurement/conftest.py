"""A device elsewhere: this machine through an SSH server of the tests' own, on a free port, with its own keys."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from erde_nas.measurement import ssh_device as device

SSHD = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if Path(path).is_file()), None)
HOSTS = """\
Host *
  HostName 127.0.0.1
  User {user}
  IdentitiesOnly yes
  KexAlgorithms curve25519-sha256
  GlobalKnownHostsFile none
  SetEnv TMPDIR={folder}/there
Host device
  Port {port}
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known
Host stranger
  Port {port}
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/nothing
Host changed
  Port {port}
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/wrong
Host locked
  Port {port}
  IdentityFile {folder}/host
  UserKnownHostsFile {folder}/known
Host full
  Port {port}
  IdentityFile {folder}/limited
  UserKnownHostsFile {folder}/known
Host off
  Port {free}
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known
"""
SERVER = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
AcceptEnv TMPDIR
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
"""
LIMITED = 'command="echo Welcome; trap \\"\\" XFSZ; ulimit -f {blocks}; eval \\"$SSH_ORIGINAL_COMMAND\\"" '


@dataclass(frozen=True)
class Elsewhere:
    """`there` is its folder for temporary files; the hosts of `config` differ in what is wrong with them."""

    folder: Path

    @property
    def there(self) -> Path:
        return self.folder / "there"

    def left(self) -> list[str]:
        """What lies in its folder for temporary files once everything that was asked to go is gone."""
        deadline = time.monotonic() + 20
        while (names := sorted(os.listdir(self.there))) and time.monotonic() < deadline:
            time.sleep(0.02)
        return names

    def limit(self, blocks: int) -> None:
        """Files on the host `full` may not be larger than so many blocks of 512 bytes."""
        keys = [(self.folder / f"{name}.pub").read_text() for name in ("key", "limited")]
        (self.folder / "authorized").write_text(keys[0] + LIMITED.format(blocks=blocks) + keys[1])

    def python(self, name: str, text: str) -> str:
        """The path of a program that stands for Python there; $PYTHON is this one."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nPYTHON={sys.executable}\n{text}\n")
        path.chmod(0o755)
        return str(path)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def _server() -> Iterator[Elsewhere]:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server is not installed (Debian: apt install openssh-server)")
    folder = Path(mkdtemp(prefix="erde-nas-sshd-"))
    elsewhere = Elsewhere(folder)
    elsewhere.there.mkdir()
    for name in ("host", "key", "limited"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port, free, user = _free_port(), _free_port(), subprocess.getoutput("id -un")
    for name, key in (("known", "host"), ("wrong", "key")):
        (folder / name).write_text(f"[127.0.0.1]:{port} {(folder / f'{key}.pub').read_text()}")
    (folder / "config").write_text(HOSTS.format(folder=folder, port=port, free=free, user=user))
    (folder / "server").write_text(SERVER.format(folder=folder, port=port))
    elsewhere.limit(10**6)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks up its unprivileged part
    server = subprocess.Popen([SSHD, "-D", "-f", folder / "server", "-E", folder / "log"])
    try:
        _wait_for(lambda: socket.create_connection(("127.0.0.1", port)).close(), folder / "log")
        yield elsewhere
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _wait_for(knock: Callable[[], None], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return knock()
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)


@pytest.fixture
def elsewhere(_server: Elsewhere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Elsewhere]:
    """The device; what a test leaves there is an error."""
    monkeypatch.setenv("ERDE_NAS_SSH_CONFIG", str(_server.folder / "config"))
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(device, "PAUSE_S", 0.0)
    monkeypatch.setattr(device, "BACK_S", 0.0)
    yield _server
    device.close_all()
    assert _server.left() == []
