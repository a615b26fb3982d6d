"""Quantization-aware training: its rounding against numpy's, and that the quantizer finds the trained steps again."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from erde_nas.compression.qat import rounded, rounded_activation
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from tests.networks.builders import build, digits, small_arch

IMAGES = digits()[0][:64]


def test_activations_lie_on_256_steps_around_zero():
    x = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 3 + 1
    x.requires_grad_()
    y = rounded_activation(x)
    values = x.detach().numpy()
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    step = (high - low) / 255
    zero = round(-low / step)
    expected = (np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-5)
    y.sum().backward()
    inside = (values / step + zero > -0.5) & (values / step + zero < 255.5)
    np.testing.assert_array_equal(x.grad.numpy()[inside], 1)


@pytest.mark.parametrize("bits", [7, 8])
def test_weights_come_out_on_their_steps_and_are_trained_on(bits):
    network = build(small_arch("mobilenet", ("erde", "gap"), width=16)).train()
    names = list(network.state_dict())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.from_numpy(IMAGES)
    with rounded(network, bits):
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            sum(out.square().mean() for out in network(images)).backward()
            optimizer.step()
    assert list(network.state_dict()) == names
    for part in network.parts:
        for layer in part.body.modules():
            if isinstance(layer, torch.nn.Conv2d):
                largest = layer.weight.detach().abs().amax((1, 2, 3), keepdim=True)
                levels = layer.weight.detach() / largest * {7: 64, 8: 127}[bits]
                torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert any(not torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("bits", [7, 8])
def test_the_quantizer_moves_no_trained_weight(bits):
    network = build(small_arch("resnet", ("gap",), width=16)).train()
    with rounded(network, bits):
        network(torch.from_numpy(IMAGES))
    network.eval()
    segments = export_segments(network)
    (quantized,) = quantize_segments(segments, IMAGES, Quantization(weight_bits=bits))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in segments[0].graph.initializer}
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    by_name = {node.name: node for node in segments[0].graph.node}
    compared = 0
    for node in quantized.graph.node:
        if node.op_type == "Conv" and "/head/" not in node.name:
            levels, scales, _ = (values[name] for name in made_by[node.input[1]].input)
            weight = weights[by_name[node.name.split("/", 1)[1]].input[1]]
            np.testing.assert_allclose(levels * scales[:, None, None, None], weight, atol=1e-5 * np.abs(weight).max())
            compared += 1
    assert compared >= 3
