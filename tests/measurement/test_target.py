"""The agent in a process of this machine: what it may print besides its answer, and answers that are damaged."""

import json
import sys
from dataclasses import asdict

import pytest

from erde_nas.device.agent.job import Answer, Disturbance, Interruptions, Job, Timed, Times
from erde_nas.errors import RuntimeRefused, UserError
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
    assert run_here(JOB, printing(before + TEXT + after)) == ANSWER


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
        run_here(JOB, printing(text))


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
