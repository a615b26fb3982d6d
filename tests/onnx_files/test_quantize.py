"""int8 segments: what is quantized, what is not, and that a trained student keeps its answers."""

import logging

import numpy as np
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch.nn import functional

from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.logits import all_logits
from erde_nas.onnx_files.file_kind import INT8
from erde_nas.onnx_files.nest import nest, split
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.onnx_files.write import Segments
from tests.networks.builders import FAMILIES, build, digits, small_arch

IMAGES, LABELS = digits()
CALIBRATION, UNSEEN = IMAGES[:100], IMAGES[1200:]
HEADS = ("erde", "conv", "gap")


@pytest.fixture(scope="module", params=FAMILIES)
def student(request):
    """A student that a few epochs on digits have taught, in eval mode."""
    network = build(small_arch(request.param, HEADS, width=16)).train()
    torch.manual_seed(0)  # of the heads' dropout
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    images, labels = torch.from_numpy(IMAGES[:1200]), torch.from_numpy(LABELS[:1200])
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for chosen in torch.randperm(1200, generator=generator).split(100):
            loss = sum(functional.cross_entropy(out, labels[chosen]) for out in network(images[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def segments(student):
    return export_segments(student)


@pytest.fixture(scope="module")
def quantized(segments):
    return quantize_segments(segments, CALIBRATION)


@pytest.fixture(scope="module")
def by_bits(segments):
    """The segments with weights of 7 and of 8 bits, whatever suits this machine."""
    return {bits: quantize_segments(segments, CALIBRATION, Quantization(weight_bits=bits)) for bits in (7, 8)}


def producers(segment):
    """Output name -> node."""
    return {name: node for node in segment.graph.node for name in node.output}


def in_head(node):
    return "/head/" in node.name


def test_answers_stay_the_same(student, quantized):
    expected = all_logits(student, UNSEEN)
    assert (expected[-1].argmax(-1) == LABELS[1200:]).mean() > 0.5  # chance is 0.1
    logits = run_segments([segment.SerializeToString() for segment in quantized], UNSEEN)
    agreement = (logits.argmax(-1) == expected.argmax(-1)).mean(-1)
    assert (agreement >= 0.95).all(), agreement
    assert np.abs(logits - expected).max() > 1e-3  # it is not the fp32 network under another name


@pytest.mark.parametrize("bits", [7, 8])
def test_answers_are_reported_as_the_target_gives_them(student, by_bits, bits):
    """Also on a machine whose own kernels would cut off 8-bit sums."""
    agreement = (
        Segments(INT8, by_bits[bits]).logits(UNSEEN).argmax(-1) == all_logits(student, UNSEEN).argmax(-1)
    ).mean(-1)
    assert (agreement >= 0.95).all(), agreement


def test_every_convolution_outside_of_heads_takes_quantized_inputs(quantized):
    for segment in quantized:
        made_by = producers(segment)
        convolutions = [node for node in segment.graph.node if node.op_type == "Conv" and not in_head(node)]
        assert convolutions
        for node in convolutions:
            assert len(node.input) >= 2  # features and weights; a bias where a batch norm was folded into it
            assert {made_by[name].op_type for name in node.input} == {"DequantizeLinear"}


def test_heads_stay_in_fp32(segments, quantized):
    for segment, source in zip(quantized, segments, strict=True):
        kinds = [node.op_type for node in segment.graph.node if in_head(node)]
        assert kinds == [node.op_type for node in source.graph.node if in_head(node)]
        assert kinds[-1] == "Gemm"
        weights = {tensor.name: tensor.data_type for tensor in segment.graph.initializer}
        heads = [
            node for node in segment.graph.node if node.op_type in ("Gemm", "BatchNormalization") and in_head(node)
        ]
        for node in heads:
            assert {weights[name] for name in node.input if name in weights} <= {TensorProto.FLOAT}
    everything = {node.op_type for segment in quantized for node in segment.graph.node if in_head(node)}
    assert everything >= {"BatchNormalization", "Conv", "Gemm"}


def test_pixels_are_normalised_in_fp32(quantized):
    made_by = producers(quantized[0])
    first = next(node for node in quantized[0].graph.node if node.op_type == "QuantizeLinear")
    kinds, node = [], made_by[first.input[0]]
    while node is not None:
        kinds.append(node.op_type)
        node = made_by.get(node.input[0])
    assert kinds == ["Add", "Mul", "Cast"]


def test_activations_are_unsigned_and_weights_signed_per_channel(quantized):
    for segment in quantized:
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in segment.graph.initializer}
        made_by = producers(segment)
        for node in segment.graph.node:
            if node.op_type == "QuantizeLinear":
                assert values[node.input[2]].dtype == np.uint8
            if node.op_type == "Conv" and not in_head(node):
                weight = made_by[node.input[1]]
                levels, scales, zeros = (values[name] for name in weight.input)
                assert levels.dtype == np.int8
                assert scales.shape == (len(levels),)
                assert not zeros.any()


@pytest.mark.parametrize(("bits", "limit"), [(7, 64), (8, 127)])
def test_weights_are_the_rounded_ones(segments, by_bits, bits, limit):
    """Per channel the largest weight becomes the largest level or its negative, and no weight moves by more than half a
    step."""
    for source, segment in zip(segments, by_bits[bits], strict=True):
        original = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in segment.graph.initializer}
        made_by, by_name = producers(segment), {node.name: node for node in source.graph.node}
        for node in segment.graph.node:
            if node.op_type != "Conv" or in_head(node):
                continue
            weight = original[by_name[node.name.split("/", 1)[1]].input[1]]
            levels, scales, _ = (values[name] for name in made_by[node.input[1]].input)
            step = scales[:, None, None, None]
            np.testing.assert_allclose(np.abs(weight).max((1, 2, 3)) / scales, limit, rtol=1e-3)
            assert (np.abs(levels * step - weight) <= 0.501 * step).all()


def test_quantizing_leaves_segments_images_and_logging_alone(segments):
    before, images, level = [s.SerializeToString() for s in segments], CALIBRATION.copy(), logging.getLogger().level
    quantize_segments(segments, CALIBRATION)
    assert [segment.SerializeToString() for segment in segments] == before
    assert np.array_equal(images, CALIBRATION)
    assert logging.getLogger().level == level


def test_quantized_segments_can_be_nested_and_split(quantized):
    again = split(nest(quantized, [0.5, 0.5]))
    logits = run_segments([segment.SerializeToString() for segment in quantized], UNSEEN[:50])
    np.testing.assert_array_equal(run_segments([s.SerializeToString() for s in again], UNSEEN[:50]), logits)
    weights = [{t.name for t in s.graph.initializer if t.data_type == TensorProto.INT8} for s in again]
    assert all(weights)
    assert not weights[0] & weights[1]
    assert not weights[1] & weights[2]
