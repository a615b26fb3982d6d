"""Segments with fewer exits answer as the network does that is built and exported with those alone."""

from itertools import combinations

import numpy as np
import pytest

from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import keep_exits
from erde_nas.onnx_files.cut import cut_segments
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.write import Segments, make_segments, write_file
from tests.networks.builders import build, digits, small_arch

EXITS = 3
SETS = [kept for count in range(1, EXITS + 1) for kept in combinations(range(EXITS), count)]


@pytest.fixture(scope="module")
def made():
    network = build(small_arch("resnet", ("gap",) * EXITS))
    return network, make_segments(network, [FP32, INT8], digits()[0][:32])


@pytest.mark.parametrize("kept", SETS)
def test_cut_segments_answer_as_the_network_with_those_exits(made, kept):
    network, segments = made
    images = digits()[0][:40]
    cut = Segments(FP32, cut_segments(segments[FP32].models, kept))
    assert len(cut.models) == len(kept)
    np.testing.assert_allclose(cut.logits(images), all_logits(keep_exits(network, kept), images), atol=1e-4)


@pytest.mark.parametrize("kept", SETS)
def test_int8_ones_answer_as_the_same_exits_of_the_whole(made, kept):
    _, segments = made
    images = digits()[0][:40]
    cut = Segments(INT8, cut_segments(segments[INT8].models, kept))
    np.testing.assert_allclose(cut.logits(images), segments[INT8].logits(images)[list(kept)], atol=1e-4)


def test_what_is_behind_the_last_exit_and_the_other_heads_are_gone(made, tmp_path):
    _, segments = made
    first, last = cut_segments(segments[FP32].models, [0]), cut_segments(segments[FP32].models, [2])
    assert [len(model.graph.node) for model in first] == [len(segments[FP32].models[0].graph.node)]
    heads = {node.name.split("/")[0] for node in last[0].graph.node if "/head/" in node.name}
    assert heads == {"s2"}
    for models in (first, last):
        write_file(Segments(FP32, models), [], tmp_path / "model.onnx", {})
