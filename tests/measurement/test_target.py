"""The agent in a process of this machine: what it may print besides its answer, and answers that are damaged."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from erde_nas.device.agent.job import Answer, Disturbance, Interruptions, Job, Timed, Times
from erde_nas.errors import ProcessLost, RuntimeRefused, UserError
from erde_nas.measurement.target import machine_of, run_here, run_there
from erde_nas.recipe.profile import HardwareProfile

JOB = Job(
    "onnxruntime",
    threads=1,
    device="cpu",
    provider=None,
    batch_size=1,
    images="images.npy",
    calls=1,
    reference=(),
    reference_shape=(1, 16, 16),
    warmup_calls=1,
    calls_per_block=1,
    blocks=1,
    passes=1,
    memory=False,
    answers=0,
    models=(Timed("a", "fp32", (), 1, ()),),
)
ANSWER = Answer({"r": "1"}, Disturbance(2), (1.0,), {"a": Times(((2.0,),), (), Interruptions(9, 0))})
HERE = HardwareProfile(name="here")
TEXT = json.dumps(asdict(ANSWER))


@pytest.fixture
def printing(tmp_path, monkeypatch):
    """Puts a program that prints a text in Python's place, and gives a folder for the job."""

    def put(text):
        (tmp_path / "text").write_bytes(text.encode() if isinstance(text, str) else text)
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\nexec cat {tmp_path}/text\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        return tmp_path

    return put


@pytest.mark.parametrize("before", ["", "loading ...\n\n", "warning {\n", "\x1b[0m\n"])
@pytest.mark.parametrize("after", ["", "\nbye\n", "\n\x1b[0m"])
def test_a_runtime_may_print_before_the_answer_and_after_it(printing, before, after):
    assert run_here(HERE, JOB, printing(before + TEXT + after)) == ANSWER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no line of JSON in it"),
        (TEXT[:-1], "it is no JSON, or was cut off"),
        (TEXT.replace("2.0", "NaN"), r"models\.a\.exits\[0\]\[0\] must be a number above zero, but is nan"),
        (TEXT.replace("[2.0]", "[2.0, 2.0]"), r"models\.a\.exits\[0\] must hold 1 values, but holds 2"),
        (b"\xff\xfe", "there is no line of JSON in it"),
    ],
)
def test_a_damaged_answer_is_one_error_that_names_the_machine(printing, text, message):
    with pytest.raises(RuntimeRefused, match=f"^this machine: what the agent there answered is damaged: {message}"):
        run_here(HERE, JOB, printing(text))


@pytest.mark.parametrize("text", ["{}", '{"models": 1}', TEXT.replace("1.0", "-1.0"), TEXT[:-9], '{"error": 1}'])
def test_a_damaged_answer_of_a_device_elsewhere_names_it(elsewhere, tmp_path, text):
    python = elsewhere.python("damaged", f"cat >/dev/null & echo '{text}'")
    far = HardwareProfile(name="far", target="ssh:device", python=python)
    with pytest.raises(RuntimeRefused, match=r"^ssh:device: what the agent there answered is damaged: ") as caught:
        run_there(far, JOB, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{}", '{"machine": {}}', '{"system": 1}'])
def test_a_damaged_description_of_a_device_names_it(elsewhere, text):
    python = elsewhere.python("nobody", f"echo '{text}'")
    with pytest.raises(UserError, match=r"^ssh:device: what its agent says of that machine is damaged: "):
        machine_of(HardwareProfile(name="far", target="ssh:device", python=python))


@pytest.fixture
def acting(tmp_path, monkeypatch):
    """Puts a shell script in Python's place, and gives a folder for the job; each start adds a line to `starts`."""

    def put(script):
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\necho >> {tmp_path}/starts\n{script}\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        return tmp_path

    return put


@pytest.mark.parametrize("trouble", ["kill -9 $$", "echo MemoryError: std::bad_alloc >&2; exit 1"])
def test_passing_trouble_is_tried_again_at_once(acting, tmp_path, trouble):
    (tmp_path / "text").write_text(TEXT)
    folder = acting(f'[ "$(wc -l < {tmp_path}/starts)" = 1 ] && {{ {trouble}; }}\nexec cat {tmp_path}/text')
    assert run_here(HERE, JOB, folder) == ANSWER
    folder = acting(f"{trouble}")
    with pytest.raises(ProcessLost, match=r"measuring failed"):
        run_here(HERE, JOB, folder)
    assert (tmp_path / "starts").read_text() == 4 * "\n"


def test_what_a_runtime_refuses_is_not_tried_again(acting, tmp_path):
    folder = acting("echo no kernel for Celu >&2; exit 1")
    with pytest.raises(RuntimeRefused, match="measuring failed in the runtime: no kernel for Celu") as error:
        run_here(HERE, JOB, folder)
    assert not isinstance(error.value, ProcessLost)
    assert (tmp_path / "starts").read_text() == "\n"


def test_measuring_here_has_a_time_out(acting, monkeypatch):
    monkeypatch.setattr("erde_nas.measurement.target.START_S", 0)
    impatient = HardwareProfile(name="here", measure={"timeout_s": 1})
    begin = time.monotonic()
    with pytest.raises(ProcessLost, match=r"no result within 1 s; raise measure\.timeout_s of the profile"):
        run_here(impatient, JOB, acting("exec sleep 60"))
    assert time.monotonic() - begin < 30


ORPHANED = """
import os, pathlib, signal, subprocess, sys
from erde_nas.measurement import target
whole = subprocess.run
def run(*args, **kwargs):
    kwargs.pop("timeout")
    print(subprocess.Popen(*args, stdin=kwargs["stdin"], env=kwargs["env"]).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
target.subprocess.run = run
target._run_agent(pathlib.Path(sys.argv[1]), 60)
"""


def test_an_agent_ends_with_the_process_that_asked(tmp_path):
    os.mkfifo(tmp_path / "job.json")  # reading it takes for ever
    done = subprocess.run([sys.executable, "-c", ORPHANED, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    agent, deadline = int(done.stdout), time.monotonic() + 60
    while Path(f"/proc/{agent}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{agent}").exists()
