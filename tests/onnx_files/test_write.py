"""Networks to files: both precisions from one export, and a file that answers differently is found out."""

import copy
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from erde_nas.distil.teachers.wrapper import ProgramTeacher
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import entropies
from erde_nas.onnx_files.file_kind import FP32, INT8, FileKind
from erde_nas.onnx_files.nest import thresholds_of
from erde_nas.onnx_files.write import ExportMismatch, Segments, check_export, make_segments, write_file
from tests.networks.builders import METADATA, build, digits, medians, small_arch

IMAGES = digits()[0][:60]


@pytest.fixture
def network():
    return build(small_arch("mobilenet", ("erde", "gap", "conv")))


def write(network, thresholds, path, kind=FP32):
    write_file(make_segments(network, [kind], IMAGES)[kind], thresholds, path, METADATA)
    return path


def test_segments_in_every_precision_have_their_own_logits(network):
    both = make_segments(network, [FP32, INT8], IMAGES)
    expected = all_logits(network, IMAGES)
    assert {kind: segments.kind for kind, segments in both.items()} == {FP32: FP32, INT8: INT8}
    np.testing.assert_allclose(both[FP32].logits(IMAGES), expected, atol=1e-4)
    int8 = both[INT8].logits(IMAGES)
    assert int8.shape == expected.shape
    assert np.abs(int8 - expected).max() > 1e-3


def test_only_the_precisions_asked_for_are_made(network):
    assert list(make_segments(network, [FP32], IMAGES)) == [FP32]


class Own(nn.Module):
    """A teacher that knows nothing of erde-nas."""

    def __init__(self):
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(1, 8, 3), nn.Linear(8, 10)

    def forward(self, pictures):
        return self.classifier(torch.relu(self.conv(pictures)).mean((2, 3)))


def test_a_teacher_of_the_users_own_is_one_segment(tmp_path):
    teacher = ProgramTeacher(Own().eval(), SimpleNamespace(mean=[0.3], std=[0.4])).eval()
    segments = make_segments(teacher, [FP32], IMAGES)[FP32]
    write_file(segments, (), tmp_path / "teacher.onnx", METADATA)
    assert len(segments.models) == 1
    check_export(tmp_path / "teacher.onnx", teacher, IMAGES, ())


def test_file_holds_thresholds_and_metadata(network, tmp_path):
    model = onnx.load(write(network, (0.5, 1.5), tmp_path / "students" / "model.onnx"))
    assert thresholds_of(model) == (0.5, 1.5)
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA
    assert [path.name for path in (tmp_path / "students").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("family", ["resnet", "mobilenet"])
def test_a_true_export_passes(family, tmp_path):
    network = build(small_arch(family, ("conv", "gap")))
    thresholds = medians(network, IMAGES)
    check_export(write(network, thresholds, tmp_path / "model.onnx"), network, IMAGES, thresholds)


def test_other_weights_are_found_out(network, tmp_path):
    thresholds = medians(network, IMAGES)
    path = write(network, thresholds, tmp_path / "model.onnx")
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.parts[-1].head.classifier.bias += 0.01  # the exits stay, the last one's logits differ
    with pytest.raises(ExportMismatch, match=r"model\.onnx: image \d+, exit 2: the logits differ by 0\.01"):
        check_export(path, other, IMAGES, thresholds)


def test_another_route_is_found_out(network, tmp_path):
    thresholds = medians(network, IMAGES)
    path = write(network, thresholds, tmp_path / "model.onnx")
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.parts[0].head.classifier.weight *= 0  # in PyTorch nobody is sure enough for exit 0
        other.parts[0].head.classifier.bias *= 0
    with pytest.raises(ExportMismatch, match=r"image \d+ leaves at exit 0, in PyTorch at exit [12]"):
        check_export(path, other, IMAGES, thresholds)


@pytest.mark.parametrize("nudge", [-1e-9, 1e-9])
def test_an_image_on_the_threshold_may_leave_at_either_exit(network, nudge, tmp_path):
    """PyTorch's exit differs between the two nudges, the file's does not: in fp32 the thresholds are equal."""
    own = float(entropies(all_logits(network, IMAGES[:1]))[0, 0])
    assert np.float32(own - 1e-9) == np.float32(own + 1e-9)
    thresholds = (own + nudge, -1.0)
    check_export(write(network, thresholds, tmp_path / "model.onnx"), network, IMAGES[:1], thresholds)


def test_segments_of_int8_keep_their_answers_in_the_file(network, tmp_path):
    segments = make_segments(network, [INT8], IMAGES)[INT8]
    write_file(segments, (0.5, 1.5), tmp_path / "int8.onnx", METADATA)
    assert isinstance(segments, Segments)
    with pytest.raises(ExportMismatch, match=r"int8\.onnx"):
        check_export(tmp_path / "int8.onnx", network, IMAGES, (-1.0, -1.0))


@pytest.mark.parametrize("runtime", ["torch", pytest.param("openvino", marks=pytest.mark.extra)])
def test_a_file_for_bf16_answers_as_its_runtime_does_in_bf16(network, runtime):
    kind = FileKind("bf16", runtime)
    assert str(kind) == f"bf16-{runtime}"
    segments = make_segments(network, [kind], IMAGES)[kind]
    expected, threads = all_logits(network, IMAGES), torch.get_num_threads()
    logits = segments.logits(IMAGES)
    assert torch.get_num_threads() == threads
    assert logits.shape == expected.shape
    difference = np.abs(logits - expected).max() / np.abs(expected).max()
    assert difference < 0.05
    if runtime == "torch":  # OpenVINO calculates in fp32 where the CPU has no bf16
        assert difference > 1e-4
