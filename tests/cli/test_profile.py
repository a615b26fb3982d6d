"""erde-nas profile: the latency of one file, as measured and as expected."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.measurement import foreign_files


@pytest.fixture
def model(finished, shortlisted):
    return finished / "students" / shortlisted / "model.onnx"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


def test_without_images_the_mean_is_an_estimate(cli, tiny, model):
    done = cli("profile", model, "--profile", tiny.profile, "--json")
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(done.out)
    assert row["profile"] == "quick"
    assert (row["source"], row["mean"], row["p99"]) == ("estimated", None, None)
    assert len(row["per_exit"]) == 3
    assert min(row["per_exit"]) <= row["expected_mean"] <= max(row["per_exit"])
    assert (row["runtime"], row["threads"], row["batch_size"], row["precision"]) == ("onnxruntime", 1, 1, "fp32")


def test_images_are_timed_as_a_stream(cli, tiny, model, images):
    done = cli("profile", model, "--profile", tiny.profile, "--images", images, "--json")
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(done.out)
    assert row["source"] == "measured"
    assert 0 < row["p50"] <= row["p95"] <= row["p99"]


def test_the_table_has_a_line_per_profile(cli, tiny, tmp_path, model):
    batches = tiny.variant(tmp_path / "b", "name: quick\nprecision: int8", "name: batches\nbatch_size: 2").profile
    done = cli("profile", model, "--profile", tiny.profile, "--profile", batches)
    assert (done.code, done.err) == (0, "")
    header, _, first, second, *notes = done.out.rstrip("\n").split("\n")
    assert header.split()[:3] == ["profile", "file", "precision"]
    assert [line.split()[:3] for line in (first, second)] == [[n, str(model), "fp32"] for n in ("quick", "batches")]
    assert any(note.startswith("batches: onnxruntime ") and note.endswith("batch 2") for note in notes)


def test_a_profile_that_fails_leaves_the_others(cli, tiny, tmp_path, model):
    elsewhere = tiny.variant(tmp_path / "e", "name: quick\nprecision: int8", "name: far\nmatch: {cpu: None}").profile
    done = cli("profile", model, "--profile", elsewhere, "--profile", tiny.profile)
    assert done.code == 2
    assert "profile 'far': it is for a CPU named 'None'" in done.err
    assert done.out.split("\n")[2].split()[0] == "quick"


def test_bad_input(refused, tiny, model, tmp_path):
    assert "no shipped profile 'quick'" in refused("profile", model, "--profile", "quick")
    assert "holds no images" in refused("profile", model, "--profile", tiny.profile, "--images", tmp_path)
    assert "is no ONNX file, or a damaged one" in refused("profile", tiny.recipe, "--profile", tiny.profile)
    assert "does not exist; give an ONNX file" in refused("profile", tmp_path / "no", "--profile", tiny.profile)


def test_a_classifier_of_another_make(cli, tiny, tmp_path):
    open_size = foreign_files.model(inputs=[foreign_files.value("image", ["n", 3, "h", "w"])])
    onnx.save(open_size, tmp_path / "own.onnx")
    done = cli("profile", tmp_path / "own.onnx", "--profile", tiny.profile, "--size", 20, "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    fed = "its input 'image' gets float32 (n, 3, 20, 20), pixels from 0 to 1, not normalised"
    assert row["remarks"][0] == fed
    assert f"own.onnx: {fed}" in done.err
    assert row["expected_mean"] > 0


def test_a_classifier_that_is_newer_than_the_runtime(cli, refused, tiny, tmp_path):
    onnx.save(foreign_files.model(ir=99), tmp_path / "new.onnx")
    message = refused("profile", tmp_path / "new.onnx", "--profile", tiny.profile)
    assert "new.onnx: the file has IR version 99, but the installed onnxruntime takes" in message
