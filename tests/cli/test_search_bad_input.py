"""What a user can get wrong before or during a search: exit code 2, one message, and nothing half-written."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_nas.device.machine import describe_machine


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def rejected(refused, out):
    """A search that must be refused before it leaves anything behind; returns the message."""

    def check(*words: object) -> str:
        message = refused(*words)
        assert not out.exists()
        return message

    return check


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--device", "cuda"], "--device cuda: torch sees no CUDA device here; use --device cpu"),
        (["--device", "tpu"], "--device must be auto, cpu or cuda, but got 'tpu'"),
        (["--epochs-scale", "0"], "--epochs-scale must be a factor above 0 and at most 1000, but got '0'"),
        (["--profile", "cpu-2thread"], "no shipped profile 'cpu-2thread'; did you mean cpu-1thread"),
        (["--profile", "nowhere.yaml"], "no profile file nowhere.yaml"),
    ],
)
def test_options(rejected, tiny, out, monkeypatch, more, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert message in rejected(*tiny.search(out, *more))


def test_the_same_profile_twice(rejected, tiny, out):
    assert "two hardware profiles have the same name: quick, quick" in rejected(
        *tiny.search(out, "--profile", str(tiny.profile))
    )


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("quickstrat", "no shipped recipe 'quickstrat'; did you mean quickstart?"),
        ("nowhere.yaml", "no recipe file nowhere.yaml"),
    ],
)
def test_unknown_recipes(rejected, out, recipe, message):
    assert message in rejected("search", recipe, "--out", out)


def test_an_unknown_data_set(rejected, tiny, out, tmp_path):
    wrong = tiny.variant(tmp_path / "wrong", "name: digits", "name: mnist")
    message = rejected(*wrong.search(out))
    assert message.startswith(f"{wrong.recipe}:2: dataset.name: should be")
    assert "'fashion-mnist'" in message
    assert '(got "mnist")' in message


def test_every_mistake_of_a_recipe_is_listed_with_its_line(rejected, tiny, out, tmp_path):
    wrong = tiny.variant(tmp_path / "a", "epochs: 6", "epochs: many")
    wrong = wrong.variant(tmp_path / "b", "heads: [gap]", "heads: [gap]\n  colour: red")
    wrong = wrong.variant(tmp_path / "c", "trials: 3", "trials: 0")
    lines = rejected(*wrong.search(out)).splitlines()
    assert [line.removeprefix(f"{wrong.recipe}:").split(": ")[:2] for line in lines] == [
        ["8", "teacher.train.epochs"],
        ["15", "space.colour"],
        ["17", "search.trials"],
    ]


def test_line_numbers_are_shown_as_they_are(rejected, tiny, out, tmp_path):
    """`:100:` is an emoji to some consoles."""
    comments = "\n" * 98
    wrong = tiny.variant(tmp_path / "wrong", "name: tiny\n", f"name: tiny{comments}\ncolour: red\n")
    assert rejected(*wrong.search(out)).startswith(f"{wrong.recipe}:100: colour: is not a key here")


def test_a_data_folder_that_is_not_there(rejected, out, tmp_path):
    message = rejected("search", "cifar10", "--out", out, "--data-dir", tmp_path / "images")
    assert "data set 'cifar10' not found: looked for data_batch_1.bin" in message
    assert "run `erde-nas data fetch cifar10`, or name the folder that holds it with --data-dir" in message


def test_a_truncated_data_set(rejected, out, tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(bytes(3073 * 10))
    (folder / "data_batch_3.bin").write_bytes(bytes(3073 * 9 + 17))
    message = rejected("search", "cifar10", "--out", out, "--data-dir", tmp_path)
    assert f"{folder / 'data_batch_3.bin'}" in message
    assert "got 27674 bytes" in message


def test_a_damaged_image(rejected, tiny, out, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            noise = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / name / f"{number}.png")
    damaged = tmp_path / "images" / "dog" / "7.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    mine = tiny.variant(
        tmp_path / "mine", "name: digits, train_limit: 120", f"name: folder, path: '{tmp_path / 'images'}'"
    )
    assert f"{damaged}: cannot be read as an image" in rejected(*mine.search(out))


def test_a_profile_of_another_machine(rejected, tiny, out, tmp_path):
    elsewhere = tiny.variant(tmp_path / "elsewhere", "precision: int8", "match: {cpu: Nonexistent}")
    assert "profile 'quick': it is for a CPU named 'Nonexistent', this one is" in rejected(*elsewhere.search(out))


def test_a_profile_of_a_gpu_that_is_not_here(rejected, out, monkeypatch):
    plain = replace(describe_machine(), accelerators=(), providers=("CPUExecutionProvider",))
    monkeypatch.setattr("erde_nas.pipeline.describe_machine", lambda: plain)
    message = rejected("search", "quickstart", "--out", out, "--profile", "cuda")
    assert "profile 'cuda': it needs a CUDA device" in message


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (
            "latency_ms: 1e-6",
            "profile quick: no student can keep limits.latency_ms 1e-06: the smallest of the space needs",
        ),
        ("macs: 10", "profile quick: no student can keep limits.macs 10: the smallest of the space needs"),
        ("params: 10", "profile quick: no student can keep limits.params 10"),
    ],
)
def test_limits_that_nobody_can_keep(rejected, tiny, out, tmp_path, limit, message):
    strict = tiny.variant(tmp_path / "strict", "precision: int8", f"limits: {{{limit}}}")
    assert message in rejected(*strict.search(out))


def test_limits_that_no_candidate_kept(refused, tiny, out, tmp_path, calibrated, monkeypatch):
    monkeypatch.setattr("erde_nas.pipeline.check_reachable", lambda *_: None)
    strict = tiny.variant(tmp_path / "strict", "precision: int8", "limits: {params: 100}")
    message = refused(*strict.search(out, "--trials", "1"))
    assert message == (
        "there is no candidate to train: all 24 architectures of the search space have been proposed "
        "(of 24 that were drawn, limits.params 100 of quick excludes 24); raise a limit, or widen the recipe's space"
    )
    monkeypatch.setattr("erde_nas.searching.limits.Screen.admits", lambda *_: True)
    message = refused(*strict.search(out, "--trials", "1"))
    assert "none of 1 candidates keeps all limits; quick: 1 exceed limits.params 100 (least: " in message
    assert not (out / "pareto.json").exists()


def test_the_output_is_a_file_or_below_one(refused, tiny, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert refused(*tiny.search(file)) == f"--out {file} is a file; give a folder"
    assert f"{file / 'run'}: Not a directory; choose another path" in refused(*tiny.search(file / "run"))
    assert file.read_text() == "mine"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written(refused, tiny, out, monkeypatch, code):
    def full(source, target):
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr("erde_nas.files.os.replace", full)
    message = refused(*tiny.search(out))
    step = "free space" if code == errno.ENOSPC else "make it writable or choose another folder"
    assert message.startswith(str(out))
    assert message.endswith(f": {os.strerror(code)}; {step}, then run it again")
    assert not [path for path in out.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_disk_that_is_full_when_the_report_is_written(refused, tiny, run, monkeypatch):
    before = (run / "pareto.json").read_text()

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert f"the report cannot be written to {run}: No space left on device" in refused(*tiny.search(run))
    assert (run / "pareto.json").read_text() == before


def test_a_teacher_that_is_not_there(refused, tiny, out, tmp_path, calibrated):
    mine = tiny.variant(tmp_path / "mine", "teacher:\n", f"teacher:\n  checkpoint: {tmp_path}/best.safetensors\n")
    message = refused(*mine.search(out))
    assert (
        message
        == f"teacher checkpoint {tmp_path}/best.safetensors does not exist; correct teacher.checkpoint in the recipe"
    )
    assert not (out / "pareto.json").exists()


TEACHER, STUDENT = ("epochs: 6, batch_size: 20, learning_rate: 0.05", "epochs: 2, batch_size: 20, learning_rate: 0.05")


def test_learning_rates_that_break_everything_can_be_corrected_in_the_same_folder(
    cli, refused, tiny, out, tmp_path, calibrated, monkeypatch
):
    hot = tiny.variant(tmp_path / "hot", TEACHER, TEACHER.replace("0.05", "1e9"))
    message = refused(*hot.search(out))
    assert message == (
        "the teacher could not be trained: the loss became nan in epoch 1 of 6; "
        "lower teacher.train.learning_rate in the recipe"
    )
    hot = tiny.variant(tmp_path / "hot", STUDENT, STUDENT.replace("0.05", "1e9"))
    message = refused(*hot.search(out, "--trials", "2"))
    assert message == (
        "all 2 candidates failed: the loss became nan in epoch 1 of 2; "
        "lower train.learning_rate in the recipe and run it again"
    )
    assert not (out / "pareto.json").exists()
    assert not (out / "students").exists()
    monkeypatch.setattr("erde_nas.pipeline._complete", lambda run, chosen: None)
    done = cli(*tiny.search(out, "--trials", "1"))
    assert done.code == 0, done.err
    assert "search 1/1: " in done.err


def test_a_latency_objective_of_a_profile_that_is_not_used(rejected, tiny, out, tmp_path):
    other = tiny.variant(tmp_path / "other", "search: {", "search: {latency_of: [phone], ")
    assert "search.latency_of names 'phone', but the profiles of this run are quick" in rejected(*other.search(out))
