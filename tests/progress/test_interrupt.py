"""Ctrl+C in programs whose libraries swallow it, or hold the main thread up."""

import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import hashlib, sys, time
from erde_nas.progress import interrupt
def swallow():
    try:
        while True:
            time.sleep(0.01)
    except BaseException:
        pass
def run():
    with interrupt.listening():
        print("ready", flush=True)
        {body}
try:
    run()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def start(body: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize(
    "body",
    ["time.sleep(60)", "swallow(); interrupt.check(); time.sleep(60)", "swallow(); swallow_again = interrupt.check()"],
)
def test_the_first_press_is_answered(body: str) -> None:
    child = start(body)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "interrupted\n"), errors


def test_one_press_that_arrives_twice_is_one() -> None:
    child = start("swallow(); time.sleep(1); interrupt.check()")
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "interrupted\n"), errors


@pytest.mark.parametrize("body", ["swallow(); time.sleep(60)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"])
def test_the_second_press_ends_at_once(body: str) -> None:
    """Also where the main thread is inside a library that runs no Python code."""
    child = start(body)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    time.sleep(1.0)
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert (child.returncode, out) == (130, "")
    assert "Ended at once. What is finished is kept; the same command continues." in errors


def test_an_answered_press_is_not_raised_again() -> None:
    child = start("swallow(); interrupt.answered(); interrupt.check(); print('report', flush=True)")
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30)[0] == "report\n"
    assert child.returncode == 0
