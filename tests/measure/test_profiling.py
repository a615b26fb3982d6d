"""Files measured by themselves under a profile, against one another, and classifiers of other makes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from erde_nas.errors import UserError
from erde_nas.hardware import HardwareProfile, MatchSection, MeasureSection
from erde_nas.measure.model import read_subject
from erde_nas.measure.profiling import profile_files
from tests.students.builders import build, digits, medians, small_arch, write_onnx

IMAGES = digits()[0][:24]
PROFILE = HardwareProfile(
    name="here",
    measure=MeasureSection(warmup_calls=1, calls_per_block=5, blocks=3, processes=1, stream_images=24, allowance_s=0),
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
    ((row,), _) = profile_files([model], PROFILE, folder)
    _, taken = network.forward_until_exit(torch.from_numpy(IMAGES), thresholds)
    shares = np.bincount(taken, minlength=2) / len(IMAGES)
    assert (row["profile"], row["source"], row["precision"]) == ("here", "measured", "fp32")
    assert row["mean"] > 0
    assert row["expected_mean"] == pytest.approx(float(shares @ row["per_exit"]))


def test_profile_without_images_is_estimated_from_the_shares_in_the_file(model):
    ((row,), _) = profile_files([model], PROFILE, None)
    assert (row["source"], row["mean"], row["p50"]) == ("estimated", None, None)
    assert row["expected_mean"] == pytest.approx(0.25 * row["per_exit"][0] + 0.75 * row["per_exit"][1])


def test_precision_is_that_of_the_file_whatever_the_profile_says(model):
    ((row,), _) = profile_files([model], PROFILE.model_copy(update={"precision": "int8"}), None)
    assert row["precision"] == "fp32"


def test_a_machine_that_does_not_match_gives_no_number(model):
    profile = PROFILE.model_copy(update={"match": MatchSection(architecture=("riscv64",))})
    with pytest.raises(UserError, match="'here': it is for architecture riscv64"):
        profile_files([model], profile, None)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_images(model, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name} holds no images"):
        profile_files([model], PROFILE, tmp_path / name)


def classifier(tmp_path, input_shape=("batch", 1, 8, 8), outputs=("logits",), element=TensorProto.FLOAT):
    """A file with one product: 64 pixels times a matrix (64, 10)."""
    weights = np.random.default_rng(0).normal(0, 0.01, (64, 10)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("Cast", ["flat"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "w"], ["logits"]),
        ],
        "plain",
        [helper.make_tensor_value_info("pixels", element, input_shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 10]) for name in outputs],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "plain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path, weights


@pytest.mark.parametrize(("element", "largest"), [(TensorProto.FLOAT, 255), (TensorProto.UINT8, 1)])
def test_any_classifier_is_a_baseline_that_answers_as_before(tmp_path, element, largest):
    path, weights = classifier(tmp_path, element=element)
    subject = read_subject(path, tmp_path)
    assert (subject.image_shape, subject.thresholds, subject.exit_fractions) == ((1, 8, 8), (), (1.0,))
    (logits,) = subject.deployed(PROFILE, IMAGES, stream=False).expected
    np.testing.assert_allclose(logits, IMAGES.reshape(len(IMAGES), 64) / np.float32(largest) @ weights, rtol=1e-4)


def test_the_ratio_of_two_files_is_taken_in_the_same_processes(model, tmp_path):
    path, _ = classifier(tmp_path)
    effort = PROFILE.measure.model_copy(update={"processes": 6})
    rows, ratio = profile_files([model, path], PROFILE.model_copy(update={"measure": effort}), None)
    assert [row["file"] for row in rows] == [str(model), str(path)]
    assert ratio.processes == 6
    assert ratio.interval[0] <= ratio.ratio <= ratio.interval[1]
    assert ratio.ratio < 1  # one small product against a residual network
    assert rows[0]["memory_bytes"] > 0


def test_more_images_than_are_compared(model, tmp_path):
    """A folder of 70: 64 answers are expected, and more are given."""
    (tmp_path / "many").mkdir()
    for number in range(70):
        Image.fromarray(IMAGES[number % len(IMAGES), 0]).save(tmp_path / "many" / f"{number:02}.png")
    measure = PROFILE.measure.model_copy(update={"stream_images": 70})
    ((row,), _) = profile_files([model], PROFILE.model_copy(update={"measure": measure}), tmp_path / "many")
    assert row["source"] == "measured"


def test_images_of_other_channels_are_refused(tmp_path, folder):
    path, _ = classifier(tmp_path, input_shape=("batch", 16, 2, 2))
    with pytest.raises(UserError, match="channel"):
        profile_files([path], PROFILE, folder)


def test_files_for_different_images_are_not_compared(model, tmp_path):
    path, _ = classifier(tmp_path, input_shape=("batch", 1, 4, 16))
    with pytest.raises(UserError, match=r"cannot be compared on the same images: .*\(1, 8, 8\).*\(1, 4, 16\)"):
        profile_files([model, path], PROFILE, None)
