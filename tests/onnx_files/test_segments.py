"""Exported segments: their names, and that they compute what the network's segments compute."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.logits import all_logits
from erde_nas.onnx_files.segments import export_segments, export_whole
from tests.networks.builders import FAMILIES, build, digits, small_arch

IMAGES = digits()[0][:30]


def names(values):
    return [value.name for value in values]


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_and_outputs_fit_together(family):
    segments = export_segments(build(small_arch(family, ("erde", "conv", "gap"))))
    assert [(names(s.graph.input), names(s.graph.output)) for s in segments] == [
        (["image"], ["logits0", "features0"]),
        (["features0"], ["logits1", "features1"]),
        (["features1"], ["logits2"]),
    ]
    for segment in segments:
        onnx.checker.check_model(segment, full_check=True)
        assert segment.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_inner_names_of_different_segments_differ():
    segments = export_segments(build(small_arch("resnet", ("erde", "gap"))))
    inner = []
    for number, segment in enumerate(segments):
        produced = {name for node in segment.graph.node for name in (node.name, *node.output)}
        produced |= {tensor.name for tensor in segment.graph.initializer}
        inner.append(produced - set(names(segment.graph.output)))
        assert all(name.startswith(f"s{number}/") for name in inner[-1])
    assert not inner[0] & inner[1]


@pytest.mark.parametrize(("family", "size"), [("mobilenet", 8), ("mobilenet", 64), *((f, 28) for f in FAMILIES)])
def test_segments_in_a_row_are_the_network(family, size):
    network = build(small_arch(family, ("conv", "erde", "wide", "linear", "gap"), channels=3, size=size))
    images = np.random.default_rng(0).integers(0, 256, (6, 3, size, size), dtype=np.uint8)
    segments = [segment.SerializeToString() for segment in export_segments(network)]
    np.testing.assert_allclose(run_segments(segments, images, 4), all_logits(network, images), atol=1e-4)


def test_dropout_is_off_and_batch_norms_after_convolutions_are_folded():
    segments = export_segments(build(small_arch("resnet", ("erde",))).train())
    kinds = [node.op_type for node in segments[0].graph.node]
    assert "Dropout" not in kinds
    assert kinds.count("BatchNormalization") == 1  # of the head, which has no convolution before it
    assert kinds.count("Conv") == 3


class Foreign(nn.Module):
    """A teacher of the user's own: a list of logits, the deepest last."""

    def __init__(self):
        super().__init__()
        self.early, self.late = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, images):
        x = images.float().flatten(1) / 255
        return [self.early(x), self.late(x)]


def test_any_network_can_be_exported_whole():
    network = Foreign().eval()
    segment = export_whole(network, (1, 8, 8))
    assert (names(segment.graph.input), names(segment.graph.output)) == (["image"], ["logits0"])
    logits = run_segments([segment.SerializeToString()], IMAGES)
    with torch.no_grad():
        np.testing.assert_allclose(logits[0], network(torch.from_numpy(IMAGES))[-1].numpy(), atol=1e-5)
