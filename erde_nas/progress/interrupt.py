"""Ctrl+C is answered always: a library that swallows the exception, as some do in their callbacks, only delays it.

The first press raises KeyboardInterrupt and is remembered until somebody has `answered` it: until then `check` raises
it again. A second press ends the process at once, whatever it is at; what is finished is on the disk by then.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ONE_PRESS_S = 0.5  # a second signal within it is the same press: a wrapper may send on what the terminal sent as well
SHOW_CURSOR = "\x1b[?25h"


@dataclass
class _State:
    pressed: bool = False
    pending: bool = False


_state = _State()


@contextmanager
def listening() -> Iterator[None]:
    """Listen for Ctrl+C inside, in the main thread of a program of our own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    threading.Thread(target=_end_at_second, args=(read,), daemon=True).start()
    woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGINT, _hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(woken)
        os.close(write)
        _state.pressed = _state.pending = False


def check() -> None:
    """Raises KeyboardInterrupt where Ctrl+C was pressed and not answered yet."""
    if _state.pending:
        raise KeyboardInterrupt


def answered() -> None:
    """The interrupt has arrived where it is dealt with."""
    _state.pending = False


def _hear(number: int, frame: FrameType | None) -> None:
    """In the main thread, as soon as that runs Python code."""
    if not _state.pressed:
        _state.pressed = _state.pending = True
        raise KeyboardInterrupt


def _end_at_second(signals: int) -> None:
    """In a thread of its own, which hears of a signal whatever the main thread is at: a library may hold that up."""
    first: float | None = None
    with os.fdopen(signals, "rb", buffering=0) as stream:
        while number := stream.read(1):
            if number[0] == signal.SIGINT:
                now = time.monotonic()
                first = now if first is None else first
                if now - first > ONE_PRESS_S:
                    _end()


def _end() -> None:
    cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(2, f"{cursor}\nEnded at once. What is finished is kept; the same command continues.\n".encode())
    os._exit(130)
