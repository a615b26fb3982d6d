"""A deployable file by itself: it names classes as PyTorch would, and other files are refused in one line."""

import math

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from erde_nas.errors import UserError
from erde_nas.export.nest import nest
from erde_nas.export.segments import export_segments
from erde_nas.hardware import HardwareProfile, MatchSection, MeasureSection
from erde_nas.measure.model import Exported, predict_files, profile_model, read_exported
from erde_nas.students.network import entropy
from tests.students.builders import build, digits, medians, small_arch, write_onnx

IMAGES = digits()[0][:24]
PROFILE = HardwareProfile(
    name="here", measure=MeasureSection(warmup_calls=1, calls_per_block=5, blocks=3, processes=1, stream_images=24)
)


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


def test_a_file_says_what_it_is(model, thresholds):
    assert read_exported(model) == Exported(tuple("abcdefghij"), (1, 8, 8), tuple(thresholds), (0.25, 0.75), "fp32")


def test_predictions_are_those_of_pytorch(model, folder, network, thresholds):
    rows = predict_files(model, sorted(folder.iterdir()))
    logits, taken = network.forward_until_exit(torch.from_numpy(IMAGES), thresholds)
    assert [row["exit"] for row in rows] == taken.tolist()
    assert [row["class"] for row in rows] == ["abcdefghij"[i] for i in logits.argmax(-1)]
    assert [row["image"] for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    np.testing.assert_allclose([row["probability"] for row in rows], logits.softmax(-1).max(-1).values, atol=1e-4)
    np.testing.assert_allclose([row["entropy"] for row in rows], entropy(logits), atol=1e-4)


def test_images_of_another_size_and_colour_are_fitted(model, tmp_path):
    Image.new("RGB", (50, 30), (200, 10, 10)).save(tmp_path / "wide.jpg")
    (row,) = predict_files(model, [tmp_path / "wide.jpg"])
    assert row["class"] in "abcdefghij"
    assert 0 <= row["entropy"] <= math.log(10)


def test_an_image_that_cannot_be_read(model, tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UserError, match=r"a\.png: cannot be read as an image"):
        predict_files(model, [tmp_path / "a.png"])


def other_file(kind, folder):
    path = folder / "other.onnx"
    if kind == "text":
        path.write_text("hello " * 50)
    if kind == "empty":
        path.write_bytes(b"")
    segment = export_segments(build(small_arch("resnet", ("gap",))))[0]
    if kind == "segment":
        onnx.save(segment, path)
    if kind == "cut":
        path.write_bytes(nest([segment], []).SerializeToString()[:-700])
    if kind == "no metadata":
        onnx.save(nest([segment], []), path)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", r"other\.onnx does not exist"),
        ("text", r"other\.onnx is not a student that erde-nas exported"),
        ("empty", r"other\.onnx is not a student that erde-nas exported: .*no exit decisions"),
        ("segment", r"other\.onnx is not a student that erde-nas exported: .*no exit decisions"),
        ("cut", r"other\.onnx is not a student that erde-nas exported"),
        ("no metadata", r"other\.onnx lacks classes, exit_fractions, precision in its metadata"),
    ],
)
@pytest.mark.parametrize("use", [lambda path: predict_files(path, []), lambda path: profile_model(path, PROFILE, None)])
def test_other_files_are_refused(kind, reason, use, tmp_path):
    with pytest.raises(UserError, match=reason):
        use(other_file(kind, tmp_path))


def test_profile_over_images_is_measured(model, folder, network, thresholds):
    row = profile_model(model, PROFILE, folder)
    _, taken = network.forward_until_exit(torch.from_numpy(IMAGES), thresholds)
    shares = np.bincount(taken, minlength=2) / len(IMAGES)
    assert (row["profile"], row["source"], row["precision"]) == ("here", "measured", "fp32")
    assert row["mean"] > 0
    assert row["expected_mean"] == pytest.approx(float(shares @ row["per_exit"]))


def test_profile_without_images_is_estimated_from_the_shares_in_the_file(model):
    row = profile_model(model, PROFILE, None)
    assert (row["source"], row["mean"], row["p50"]) == ("estimated", None, None)
    assert row["expected_mean"] == pytest.approx(0.25 * row["per_exit"][0] + 0.75 * row["per_exit"][1])


def test_precision_is_that_of_the_file_whatever_the_profile_says(model):
    assert profile_model(model, PROFILE.model_copy(update={"precision": "int8"}), None)["precision"] == "fp32"


def test_a_machine_that_does_not_match_gives_no_number(model):
    profile = PROFILE.model_copy(update={"match": MatchSection(architecture=("riscv64",))})
    with pytest.raises(UserError, match="'here': it is for architecture riscv64"):
        profile_model(model, profile, None)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_images(model, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name} holds no images"):
        profile_model(model, PROFILE, tmp_path / name)
