"""A deployable file by itself, measured under a profile."""

import numpy as np
import pytest
import torch
from PIL import Image

from erde_nas.errors import UserError
from erde_nas.hardware import HardwareProfile, MatchSection, MeasureSection
from erde_nas.measure.model import profile_model
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
