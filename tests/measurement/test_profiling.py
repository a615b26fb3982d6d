"""Files measured by themselves under a profile, against one another, and classifiers of other makes."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from erde_nas.api.measure import Measurement, Measurements
from erde_nas.device.instructions import EXACT_INT8
from erde_nas.device.machine import describe_machine
from erde_nas.errors import UserError
from erde_nas.measurement.given_file import read_given_file, read_images
from erde_nas.measurement.profiling import caution, profile_files
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.recipe.profile import HardwareProfile, MatchSection, MeasureSection
from tests.networks.builders import METADATA, build, digits, medians, small_arch, write_onnx

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
    assert (row.profile, row.latency.source, row.latency.precision) == ("here", "measured", "fp32")
    assert row.latency.mean > 0
    assert row.latency.expected_mean == pytest.approx(float(shares @ row.latency.per_exit))


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (4, "RGBA")])
def test_images_with_alpha_where_a_file_takes_it(channels, mode, tmp_path):
    network = build(small_arch("resnet", ("erde", "gap"), channels=channels))
    model = write_onnx(network, [1.0], tmp_path / "model.onnx")
    folder = tmp_path / "images"
    folder.mkdir()
    planes = np.stack([IMAGES[k : k + 4, 0] for k in range(channels)], 1)  # (4, channels, h, w)
    for number, image in enumerate(planes):
        Image.merge(mode, [Image.fromarray(plane) for plane in image]).save(folder / f"{number}.png")
    np.testing.assert_array_equal(read_images(folder, (channels, 8, 8), 1), planes)
    ((row,), _) = profile_files([model], PROFILE, folder)
    assert row.latency.source == "measured"
    Image.new("RGB", (8, 8)).save(folder / "b.png")
    with pytest.raises(UserError, match=rf"b\.png has no alpha channel, but {channels} channels are wanted"):
        profile_files([model], PROFILE, folder)


def test_profile_without_images_is_estimated_from_the_shares_in_the_file(model):
    ((row,), _) = profile_files([model], PROFILE, None)
    assert (row.latency.source, row.latency.mean, row.latency.p50) == ("estimated", None, None)
    assert row.latency.expected_mean == pytest.approx(0.25 * row.latency.per_exit[0] + 0.75 * row.latency.per_exit[1])


def test_precision_is_that_of_the_file_whatever_the_profile_says(model):
    ((row,), _) = profile_files([model], PROFILE.model_copy(update={"precision": "int8"}), None)
    assert row.latency.precision == "fp32"


def test_a_machine_that_does_not_match_gives_no_number(model):
    profile = PROFILE.model_copy(update={"match": MatchSection(architecture=("riscv64",))})
    with pytest.raises(UserError, match="'here': it is for architecture riscv64"):
        profile_files([model], profile, None)


@pytest.mark.parametrize(("name", "said"), [("empty", "holds no images"), ("missing", "does not exist")])
def test_a_folder_without_images(model, tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name} {said}"):
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
    given = read_given_file(path, tmp_path)
    assert (given.metadata.image_shape, given.metadata.thresholds, given.metadata.exit_fractions) == (
        (1, 8, 8),
        (),
        (1.0,),
    )
    (logits,) = given.workload(PROFILE, IMAGES, stream=False).expected
    np.testing.assert_allclose(logits, IMAGES.reshape(len(IMAGES), 64) / np.float32(largest) @ weights, rtol=1e-4)


def test_the_ratio_of_two_files_is_taken_in_the_same_processes(model, tmp_path):
    path, _ = classifier(tmp_path)
    effort = PROFILE.measure.model_copy(update={"processes": 6})
    rows, ratio = profile_files([model, path], PROFILE.model_copy(update={"measure": effort}), None)
    assert [row.file for row in rows] == [str(model), str(path)]
    assert ratio.processes == 6
    assert ratio.interval[0] <= ratio.ratio <= ratio.interval[1]
    assert ratio.ratio < 1  # one small product against a residual network
    assert rows[0].latency.memory_bytes > 0


def test_more_images_than_are_compared(model, tmp_path):
    """A folder of 70: 64 answers are expected, and more are given."""
    (tmp_path / "many").mkdir()
    for number in range(70):
        Image.fromarray(IMAGES[number % len(IMAGES), 0]).save(tmp_path / "many" / f"{number:02}.png")
    measure = PROFILE.measure.model_copy(update={"stream_images": 70})
    ((row,), _) = profile_files([model], PROFILE.model_copy(update={"measure": measure}), tmp_path / "many")
    assert row.latency.source == "measured"


def test_images_of_other_channels_are_refused(tmp_path, folder):
    path, _ = classifier(tmp_path, input_shape=("batch", 16, 2, 2))
    with pytest.raises(UserError, match="channel"):
        profile_files([path], PROFILE, folder)


def test_files_for_different_images_are_not_compared(model, tmp_path):
    path, _ = classifier(tmp_path, input_shape=("batch", 1, 4, 16))
    with pytest.raises(UserError, match=r"cannot be compared on the same images: .*\(1, 8, 8\).*\(1, 4, 16\)"):
        profile_files([model, path], PROFILE, None)


def test_a_file_that_this_cpu_would_answer_wrong_is_measured_with_a_caution(network, tmp_path, monkeypatch):
    """An own file by what it says of itself, another one's by its weights."""
    machine = dataclasses.replace(describe_machine(), architecture="x86_64", features=("avx2",))
    new = dataclasses.replace(machine, features=("avx2", "avx_vnni"))
    files = {}
    for bits in (7, 8):
        how = Quantization(weight_bits=bits)
        segments = quantize_segments(export_segments(network), IMAGES, how)
        props = {**METADATA, "precision": "int8", "instructions": " ".join(how.instructions)}
        for name in ("own", "foreign"):
            model = nest(segments, [0.5]) if name == "own" else segments[0]
            onnx.helper.set_model_props(model, props if name == "own" else {})
            files[name, bits] = tmp_path / f"{name}{bits}.onnx"
            if name == "foreign":  # one output, a single image at a time
                del model.graph.output[1:]
            onnx.save(model, files[name, bits])
    for (name, bits), file in files.items():
        given = read_given_file(file, tmp_path)
        assert given.metadata.precision == "int8"
        assert given.metadata.instructions == (EXACT_INT8 if bits == 8 else ()), name
        assert caution(given, new) == ""
        assert ("8-bit weights are exact on AVX-512 VNNI" in caution(given, machine)) is (bits == 8)
    monkeypatch.setattr("erde_nas.measurement.profiling.machine_of", lambda profile: machine)
    monkeypatch.setattr("erde_nas.measurement.profiling.obstacle", lambda profile, machine: None)
    rows, _ = profile_files([files["own", 8], files["own", 7]], PROFILE, None)
    assert [bool(row.caution) for row in rows] == [True, False]
    assert (
        f"{files['own', 8]}: its answers are less accurate on"
        in Measurements(Measurement(**vars(row)) for row in rows).table()
    )
