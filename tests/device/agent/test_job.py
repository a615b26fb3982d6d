"""The agent's job and answer as JSON: what both sides write is read as it was, and every damage is one clear error."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from erde_nas.device.agent.job import Job, Timed, read_answer, read_job
from erde_nas.device.agent.json_records import DamagedRecord, last_object, parse, read
from erde_nas.device.agent.run_job import Agent
from erde_nas.device.machine import Machine, describe_machine
from erde_nas.measurement.reference import write_reference
from erde_nas.measurement.target import run_here
from erde_nas.recipe.profile import HardwareProfile
from tests.damage import damaged
from tests.networks.builders import build, digits, small_arch, write_onnx

IMAGES = digits()[0][:5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A job for a student with two exits and its files; thorough, in two calls of two images."""
    folder = tmp_path_factory.mktemp("job")
    write_onnx(build(small_arch("mobilenet", ("gap", "gap"))), [0.5], folder / "model.onnx")
    write_reference(folder / "reference.onnx")
    np.save(folder / "images.npy", IMAGES)
    models = (Timed("a/model.onnx", "fp32", ("model.onnx",), 2, ((0.5,), (float("inf"),))),)
    job = Job(
        "onnxruntime",
        threads=1,
        device="cpu",
        provider=None,
        batch_size=1,
        images="images.npy",
        calls=5,
        reference=("reference.onnx",),
        reference_shape=(1, 16, 16),
        warmup_calls=1,
        calls_per_block=3,
        blocks=2,
        passes=1,
        memory=True,
        answers=4,
        models=models,
    )
    job.write(folder)
    return folder


@pytest.fixture(scope="module")
def answer(folder):
    """What a real agent finds in a process of its own, as JSON."""
    return json.loads(json.dumps(asdict(run_here(HardwareProfile(name="here"), read_job(folder), folder))))


def refusal(reader, value):
    """Why the reader refuses the value, in one line; empty where it takes it. Any other error is a failure."""
    try:
        reader(value)
    except DamagedRecord as error:
        lines = str(error).splitlines()
        return lines[0] if len(lines) == 1 else pytest.fail(f"{lines}")
    return ""


def test_what_was_written_is_read_as_it_was(folder, answer):
    job = read_job(folder)
    assert job == read(Job, asdict(job))
    assert job.models[0].streams == ((0.5,), (float("inf"),))
    found = read_answer(answer, job)
    assert json.loads(json.dumps(asdict(found))) == answer
    assert len(found.models["a/model.onnx"].streams[0].ratios[0]) == 5
    machine = describe_machine()
    assert read(Machine, json.loads(json.dumps(asdict(machine)))) == machine


def test_every_damage_to_an_answer_is_one_error_or_harmless(folder, answer):
    job = read_job(folder)
    taken, count = [], 0
    for what, value in damaged(answer):
        count += 1
        if not refusal(lambda value: read_answer(value, job), value):
            taken.append(what)
    assert count > 450
    # A number in place of another, and what may be absent, cannot be told from the truth: in times, not in lengths.
    assert all("ratios" not in what or what.endswith(("is 0.5", "is 7")) for what in taken), taken
    assert not any("left out" in what and ("ratios" in what or "exits" in what) for what in taken), taken
    assert len(taken) < count / 5, taken


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_an_answer_that_is_cut_off(folder, answer, part):
    text = json.dumps(answer)
    assert refusal(last_object, text[: int(part * len(text))])
    assert last_object(f"warning: no cache\n{text}\nbye\n") == answer


@pytest.mark.parametrize("text", ["", "Segmentation fault", "{'a': 1}", "{" * 5000, '{"a":' * 100_000, "null"])
def test_what_is_no_answer_at_all(text):
    assert refusal(last_object, text)


def test_an_answer_to_another_job(folder, answer):
    job = read_job(folder)
    (model,) = job.models
    for other in (
        replace(job, blocks=3),
        replace(job, passes=2),
        replace(job, calls=4),
        replace(job, models=()),
        replace(job, models=(replace(model, exits=3),)),
        replace(job, models=(replace(model, streams=model.streams[:1]),)),
        replace(job, models=(model, replace(model, key="b"))),
    ):
        with pytest.raises(DamagedRecord, match="models"):
            read_answer(answer, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference_ms": [1.0, None]}, r"reference_ms\[1\] must be a number above zero, but is None"),
        ({"reference_ms": []}, "reference_ms is empty"),
        ({"contention": {"cores": 2, "steal": float("nan")}}, "contention.steal must be a number that is not negative"),
        ({"versions": ["onnxruntime"]}, r"versions must be an object, but is \['onnxruntime'\]"),
        ({"more": 1}, "more is not known"),
    ],
)
def test_the_error_says_where_and_what(folder, answer, change, message):
    with pytest.raises(DamagedRecord, match=message):
        read_answer({**answer, **change}, read_job(folder))


def test_every_damage_to_a_job_is_one_error_or_harmless(folder, tmp_path):
    whole = json.loads((folder / "job.json").read_text())
    count = 0

    def reader(value):
        (tmp_path / "job.json").write_text(json.dumps(value))
        read_job(tmp_path)

    for _, value in damaged(whole):
        count += 1
        refusal(reader, value)
    assert count > 300
    for cut in range(0, len(json.dumps(whole)), 40):
        (tmp_path / "job.json").write_text(json.dumps(whole)[:cut])
        with pytest.raises(DamagedRecord, match=r"^the job's job.json is damaged: "):
            read_job(tmp_path)
    (tmp_path / "job.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedRecord, match=r"^the job's job.json is damaged: "):
        read_job(tmp_path)


def test_a_job_whose_images_are_others(folder, tmp_path):
    for path in folder.glob("*.onnx"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    replace(read_job(folder), memory=False).write(tmp_path)
    np.save(tmp_path / "images.npy", IMAGES[:3])
    with pytest.raises(DamagedRecord, match="the job needs 5 batches of 1, but there are 3 images"):
        Agent(read_job(tmp_path), tmp_path)


def test_every_damage_to_a_machine_is_one_error_or_harmless():
    machine = json.loads(json.dumps(asdict(describe_machine())))
    for _, value in damaged(machine):
        refusal(lambda value: read(Machine, value), value)
    with pytest.raises(DamagedRecord, match=r"^runtimes\[0\] must be a list of 2, but is \['torch'\]"):
        read(Machine, {**machine, "runtimes": [["torch"]]})
    assert parse("1") == 1
