"""Sensitive layers: one that int8 ruins is found and kept, and no more layers than needed."""

import numpy as np
import pytest
import torch

from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.onnx_files.quantize import Quantization, quantizable, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.onnx_files.sensitivity import by_sensitivity, keep_sensitive
from tests.networks.builders import build, digits, small_arch

IMAGES = digits()[0][:48]
HOW = Quantization()


@pytest.fixture(scope="module")
def segments():
    """A network whose second block has one giant activation, so that all others there round to a few steps."""
    network = build(small_arch("resnet", ("gap", "gap"), width=16)).eval()
    with torch.no_grad():
        first = network.parts[1].body[0].first
        first[1].weight[0] *= 3000
        first[1].bias[0] += 3000
        network.parts[1].body[0].second[0].weight[:, 0] /= 3000
    return export_segments(network)


def logits(models):
    return run_segments([model.SerializeToString() for model in models], IMAGES)


def test_the_ruined_layers_come_first_and_all_are_listed(segments):
    order = by_sensitivity(segments, IMAGES, HOW)
    assert sorted(order) == sorted(quantizable(segments, HOW))
    # The first convolution makes the giant channel and the second reads it: quantizing either rounds it.
    assert {name.split("/")[4] for name in order[:2]} == {"first", "second"}
    assert all(name.startswith("s1/") for name in order[:2])
    assert not [name for name in order if "/head/" in name]


def test_only_so_many_layers_stay_in_fp32_as_are_needed(segments):
    expected, order = logits(segments), by_sensitivity(segments, IMAGES, HOW)

    def error(models):
        return float(((logits(models) - expected) ** 2).mean())

    errors = []
    for count in range(1, len(order) // 2 + 1):  # the brute force
        errors.append(error(quantize_segments(segments, IMAGES, Quantization(kept=tuple(order[:count])))))
    bound = errors[1] * 1.0001
    models, kept = keep_sensitive(segments, IMAGES, HOW, lambda made: error(made) <= bound)
    assert error(models) <= bound < min(errors[0], error(quantize_segments(segments, IMAGES, HOW)))
    assert kept == tuple(order[:2])


def test_nothing_where_half_of_the_layers_are_not_enough(segments):
    assert keep_sensitive(segments, IMAGES, HOW, lambda made: False) is None


def test_quantizing_one_layer_leaves_the_others_alone(segments):
    name = quantizable(segments, HOW)[0]
    made = quantize_segments(segments, IMAGES, Quantization(only=(name,)))
    kinds = [sum(node.op_type == "Conv" for node in model.graph.node) for model in made]
    assert kinds == [sum(node.op_type == "Conv" for node in model.graph.node) for model in segments]
    quantized = [t.name for model in made for t in model.graph.initializer if t.data_type == 3]  # int8
    assert len({name.rsplit("_", 1)[0].rsplit("/", 1)[0] for name in quantized}) <= 1
    assert not np.allclose(logits(made), logits(segments), atol=1e-7)


def test_heads_and_signed_activations_where_they_are_wanted(segments):
    made = quantize_segments(segments, IMAGES, Quantization(heads=True, signed=True))
    gemms = [node for model in made for node in model.graph.node if node.op_type == "Gemm"]
    producers = {name: node.op_type for model in made for node in model.graph.node for name in node.output}
    assert gemms
    assert all(producers[node.input[0]] == "DequantizeLinear" for node in gemms)
    zeros = {t.name: t.data_type for model in made for t in model.graph.initializer}
    steps = [node for model in made for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {zeros[node.input[2]] for node in steps} == {3}  # TensorProto.INT8
