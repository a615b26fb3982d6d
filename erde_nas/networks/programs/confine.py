"""What a process that reads a stranger's file gives up, before it does: the network, writing anywhere but in one
folder, starting programs, and more than so much memory and time. Each as far as this system lets it; what is not had is
said.

Linux: a network namespace of its own (unshare), Landlock (https://docs.kernel.org/userspace-api/landlock.html) from
kernel 5.13 on, and resource limits; elsewhere the limits alone.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

SECONDS = 300
LEAST_BYTES, TIMES = 16_000_000_000, 8  # of address space: at least, and in sizes of the file
NEW_USER, NEW_NET = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, alike on all architectures
NO_NEW_PRIVILEGES = 38
WRITING = {
    1: 0b1_1111_1111_0011,
    2: 1 << 13,
    3: 1 << 14,
    5: 1 << 15,
}  # rights on files by version: execute, write, make
TCP = {4: 0b11}  # bind, connect
SCOPES = {6: 0b11}  # abstract sockets, signals to others
WRITE_FILE = 1 << 1


def confine(folder: Path, file_bytes: int) -> list[str]:
    """Give it all up for good; `folder` alone may be written to. What could not be had, in words."""
    lacks = []
    if not _limits(file_bytes):
        lacks.append("memory and time are not bounded")
    isolated = _own_network()
    version = _landlock(folder)
    if not isolated and version < 4:
        lacks.append("the network is not cut off")
    if not version:
        lacks.append("files can be written and programs started")
    return lacks


def _limits(file_bytes: int) -> bool:
    try:
        import resource

        memory = max(LEAST_BYTES, TIMES * file_bytes)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return False
    return True


def _own_network() -> bool:
    """A network without any device: nothing can be reached, and nobody reaches it."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(flags) == 0 for flags in (NEW_NET, NEW_USER | NEW_NET))


def _landlock(folder: Path) -> int:
    """The version of Landlock that holds now; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return 0
    files, network, scopes = (
        sum(bits for least, bits in rights.items() if version >= least) for rights in (WRITING, TCP, SCOPES)
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(CREATE_RULESET, struct.pack("QQQ", files, network, scopes), ctypes.c_size_t(size), 0)
    if rules < 0:
        return 0
    try:
        held = [_allow(libc, rules, folder, files & ~1), _allow(libc, rules, Path(os.devnull), WRITE_FILE)]
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return version if all(held) and libc.syscall(RESTRICT_SELF, rules, 0) == 0 else 0
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, place: Path, rights: int) -> bool:
    descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        return bool(libc.syscall(ADD_RULE, rules, 1, struct.pack("=Qi", rights, descriptor), 0) == 0)
    finally:
        os.close(descriptor)
