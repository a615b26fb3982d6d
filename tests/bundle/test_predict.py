"""A deployable file by itself classifies images as PyTorch would; what it cannot take is refused in one line."""

import math
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from erde_nas.bundle.predict import predict_files
from erde_nas.device.exit_rules import MARGIN, MAX_PROB
from erde_nas.device.instructions import EXACT_INT8
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.errors import UserError
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import entropy
from erde_nas.onnx_files.metadata import read_metadata
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from tests.exit_rules import FITTED, SO_FAR
from tests.networks.builders import METADATA, build, digits, medians, small_arch, write_onnx

IMAGES, NEEDS = digits()[0][:24], set(EXACT_INT8)


@pytest.fixture(scope="module")
def network():
    return build(small_arch("resnet", ("erde", "gap")))


@pytest.fixture
def thresholds(network):
    return [float(np.float32(threshold)) for threshold in medians(network, IMAGES)]


@pytest.fixture
def model(network, thresholds, tmp_path):
    return write_onnx(network, thresholds, tmp_path / "model.onnx")


@pytest.fixture
def folder(tmp_path):
    """The digits as PNG files."""
    (tmp_path / "images").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image[0]).save(tmp_path / "images" / f"{number:02}.png")
    return tmp_path / "images"


def test_predictions_are_those_of_pytorch(model, folder, network, thresholds):
    rows = predict_files(model, [folder])
    logits, taken = network.forward_until_exit(torch.from_numpy(IMAGES), thresholds)
    assert [row["exit"] for row in rows] == taken.tolist()
    assert [row["class"] for row in rows] == ["abcdefghij"[i] for i in logits.argmax(-1)]
    assert [row["image"] for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    np.testing.assert_allclose([row["probability"] for row in rows], logits.softmax(-1).max(-1).values, atol=1e-4)
    np.testing.assert_allclose([row["entropy"] for row in rows], entropy(logits), atol=1e-4)
    np.testing.assert_allclose([row["logits"] for row in rows], logits, atol=1e-4)


@pytest.mark.parametrize("rule", [MAX_PROB, MARGIN, SO_FAR, FITTED], ids=lambda rule: rule.name)
def test_a_file_decides_by_its_own_rule_which_need_not_be_installed(network, folder, tmp_path, rule):
    thresholds = medians(network, IMAGES, rule)
    rows = predict_files(write_onnx(network, thresholds, tmp_path / "other.onnx", rule), [folder])
    score = rule.score([all_logits(network, IMAGES)[0]])
    assert [row["exit"] for row in rows] == [0 if value < thresholds[0] else 1 for value in score]
    assert read_metadata(tmp_path / "other.onnx").exit_rule == rule.record


def test_images_of_another_size_and_colour_are_fitted_where_that_is_wanted(model, tmp_path):
    Image.new("RGB", (50, 30), (200, 10, 10)).save(tmp_path / "wide.jpg")
    (row,) = predict_files(model, [tmp_path / "wide.jpg"], resize=True)
    assert row["class"] in "abcdefghij"
    assert 0 <= row["entropy"] <= math.log(10)
    with pytest.raises(UserError, match=r"wide\.jpg is 50x30, but the student takes 8x8; give --resize to scale it"):
        predict_files(model, [tmp_path / "wide.jpg"])


GRAY_AND_ALPHA, COLOUR_AND_ALPHA = (IMAGES[:8, 0], IMAGES[8:16, 0]), tuple(IMAGES[k : k + 8, 0] for k in (0, 8, 16, 4))


@pytest.mark.parametrize(
    ("mode", "planes"),
    [("L", GRAY_AND_ALPHA[:1]), ("LA", GRAY_AND_ALPHA), ("RGB", COLOUR_AND_ALPHA[:3]), ("RGBA", COLOUR_AND_ALPHA)],
)
def test_one_to_four_channels(mode, planes, tmp_path):
    """Files and arrays of these planes, against PyTorch."""
    pixels = np.stack(planes, 1)  # (n, channels, h, w)
    network = build(small_arch("resnet", ("gap",), channels=len(planes)))
    model = write_onnx(network, [], tmp_path / "model.onnx")
    (tmp_path / "images").mkdir()
    for number, image in enumerate(pixels):
        file = Image.merge(mode, [Image.fromarray(plane) for plane in image])
        file.save(tmp_path / "images" / f"{number}.png")
        np.save(tmp_path / "images" / f"{number}.npy", image)
    logits = network(torch.from_numpy(pixels))[-1].detach().numpy()
    rows = predict_files(model, [tmp_path / "images"])
    assert len(rows) == 2 * len(pixels)
    np.testing.assert_allclose([row["logits"] for row in rows], np.repeat(logits, 2, 0), atol=1e-4)


def test_files_without_the_channels_that_are_taken(tmp_path):
    model = write_onnx(build(small_arch("resnet", ("gap",), channels=4)), [], tmp_path / "model.onnx")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg has no alpha channel, but 4 channels are wanted: red, green"):
        predict_files(model, [tmp_path / "a.jpg"])


def test_what_is_left_out_of_a_folder_is_heard(model, folder):
    (folder / "notes.txt").write_text("no image")
    heard = []
    assert len(predict_files(model, [folder], say=heard.append)) == len(IMAGES)
    assert heard == [f"{folder}: left out: no images by their names: 1 (notes.txt)"]


def test_an_image_that_cannot_be_read(model, tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UserError, match=r"a\.png: cannot be read as an image"):
        predict_files(model, [tmp_path / "a.png"])


def test_neither_torch_nor_a_search_is_loaded():
    code = "import sys, erde_nas.bundle.predict; print({'torch', 'optuna', 'nni'} & sys.modules.keys() or 'none')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "none\n"


def test_a_file_for_other_cpus_is_said_and_exact(network, folder, tmp_path, monkeypatch):
    """Old files do not say for which CPUs they are: theirs have 8-bit weights."""
    made = quantize_segments(export_segments(network), IMAGES, Quantization(weight_bits=8))
    model = nest(made, [0.0])
    onnx.helper.set_model_props(model, {**METADATA, "precision": "int8"})
    onnx.save(model, tmp_path / "model.int8.onnx")
    said = []
    monkeypatch.setattr(
        "erde_nas.device.bundle_runner.missing", lambda needs: "it lacks that" if set(needs) == NEEDS else ""
    )
    rows = predict_files(tmp_path / "model.int8.onnx", [folder], say=said.append)
    assert said == [f"{tmp_path / 'model.int8.onnx'}: it lacks that"]
    exact = run_segments([segment.SerializeToString() for segment in made], IMAGES, exact=True)
    np.testing.assert_allclose([row["logits"] for row in rows], exact[-1], atol=1e-5)
    said.clear()
    for needs in ("", None):  # 7-bit weights say that they need nothing
        props = {**METADATA, "precision": "int8", "instructions": ""} if needs == "" else METADATA
        onnx.helper.set_model_props(model, props)
        onnx.save(model, tmp_path / "model.int8.onnx")
        predict_files(tmp_path / "model.int8.onnx", [folder], say=said.append)
    assert said == []
