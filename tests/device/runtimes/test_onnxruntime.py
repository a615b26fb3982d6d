"""ONNX Runtime sessions and the exit rule in them. What files answer is tested in tests/onnx_files."""

import numpy as np
import onnx
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from erde_nas.device.runtimes.compaction import Compacting
from erde_nas.device.runtimes.onnxruntime import as_segment, open_session
from erde_nas.onnx_files.segments import export_segments
from tests.networks.builders import build, digits, medians, small_arch

IMAGES = digits()[0][:64]


class Recorder:
    """A segment that gives known logits and notes the batches that it sees."""

    def __init__(self, name, logits):
        self.name, self.logits, self.seen = name, logits, []

    def get_inputs(self):
        return [self]

    def get_outputs(self):
        return [self, self]

    def run(self, outputs, feed):
        batch = feed[self.name][:, 0, 0, 0].astype(int)
        self.seen.append(batch.tolist())
        return [self.logits[batch], feed[self.name]]


def test_a_batch_shrinks_as_images_leave():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 10, 4)).astype(np.float32)
    segments = [Recorder(f"in{i}", logits[i]) for i in range(3)]
    batch = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)  # an image is its own number
    thresholds = np.array([0.6, 0.7], np.float32)
    answer, taken = Compacting(list(map(as_segment, segments))).run(batch, thresholds)
    entropy = scipy_entropy(np.exp(logits.astype(float)), axis=-1)
    expected = [0 if entropy[0, i] < 0.6 else 1 if entropy[1, i] < 0.7 else 2 for i in range(10)]
    assert taken.tolist() == expected
    assert set(expected) == {0, 1, 2}
    assert np.array_equal(answer, logits[expected, np.arange(10)])
    assert [segment.seen for segment in segments] == [[[i for i in range(10) if expected[i] >= n]] for n in range(3)]


def test_segments_without_images_do_not_run():
    logits = np.full((4, 3), [9.0, 0.0, 0.0], np.float32)
    segments = [Recorder("a", logits), Recorder("b", logits)]
    Compacting(list(map(as_segment, segments))).run(
        np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1), np.array([0.5], np.float32)
    )
    assert [len(segment.seen) for segment in segments] == [1, 0]


def test_batches_route_like_pytorch(tmp_path):
    network = build(small_arch("mobilenet", ("gap", "erde", "conv")))
    thresholds, sessions = medians(network, IMAGES), []
    for number, segment in enumerate(export_segments(network)):
        onnx.save(segment, tmp_path / f"{number}.onnx")
        sessions.append(open_session(str(tmp_path / f"{number}.onnx"), threads=1, device="cpu"))
    expected_logits, expected = network.forward_until_exit(torch.from_numpy(IMAGES), thresholds)
    logits, taken = Compacting(list(map(as_segment, sessions))).run(IMAGES, np.array(thresholds, np.float32))
    assert taken.tolist() == expected.tolist()
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)


def test_a_session_without_the_provider_says_what_is_there(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeError, match=r"no CUDAExecutionProvider here; it has \['CPUExecutionProvider'\]"):
        open_session("model.onnx", threads=1, device="cuda")
