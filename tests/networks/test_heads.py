"""Exit heads against the same arithmetic in numpy."""

import numpy as np
import pytest
import torch

from erde_nas.networks.heads import build_head
from erde_nas.registry import HEADS
from tests.networks.builders import build, small_arch


def head_in_use(kind, channels, size, classes, width):
    """A head in eval mode with a batch norm that does something."""
    generator = torch.Generator().manual_seed(size)
    head = build_head(kind, channels=channels, size=size, classes=classes, width=width).eval()
    with torch.no_grad():
        for name, tensor in head.state_dict().items():
            if "num_batches" not in name:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if "running_var" in name else -0.5))
    return head, {name: tensor.double().numpy() for name, tensor in head.state_dict().items()}


def batch_norm_relu(x, weights, layer):
    mean, var, scale, shift = (
        weights[f"features.{layer}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + shift, 0)


def conv3x3_stride2(x, kernel):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("nchwij,ocij->nohw", windows, kernel)


def by_hand(kind, x, weights):
    """BN -> ReLU (not in `linear` and `max`, after a 1×1 convolution in `wide`), the head's own -> the classes."""
    if kind == "wide":
        x = np.einsum("nchw,oc->nohw", x, weights["features.0.weight"][:, :, 0, 0])
    if kind not in ("linear", "max"):
        x = batch_norm_relu(x, weights, 1 if kind == "wide" else 0)
    if kind == "conv":
        x = batch_norm_relu(conv3x3_stride2(x, weights["features.2.weight"]), weights, 3)
    windows = {"erde": 2, "pool2": x.shape[2] // 2, "pool4": x.shape[2] // 4}
    if kind in windows:  # what is left of the last rows and columns is left out
        window = max(1, windows[kind])
        side = max(1, x.shape[2] // window)
        x = np.stack(
            [x[:, :, i : i + window, j : j + window].mean((2, 3)) for i in range(0, side * window, window)
             for j in range(0, side * window, window)], 2,
        ).reshape(len(x), -1)  # fmt: skip
    else:
        x = x.max((2, 3)) / 9 if kind == "max" else x.mean((2, 3))
    return x @ weights["classifier.weight"].T + weights["classifier.bias"]


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("kind", list(HEADS))
def test_head_computes_what_its_paper_says(kind, size):
    head, weights = head_in_use(kind, channels=6, size=size, classes=4, width=5)
    x = torch.randn(3, 6, size, size, generator=torch.Generator().manual_seed(1))
    expected = by_hand(kind, x.double().numpy(), weights)
    np.testing.assert_allclose(head(x).detach().numpy(), expected, atol=1e-5)


def test_erde_head_drops_half_of_the_features_in_training():
    head = build_head("erde", channels=4, size=8, classes=3, width=0)
    assert [layer.p for layer in head.features if isinstance(layer, torch.nn.Dropout)] == [0.5]


@pytest.mark.parametrize(("kind", "places"), [("pool2", 4), ("pool4", 16), ("gap", 1)])
@pytest.mark.parametrize("size", [4, 8, 32])
def test_what_a_pooling_head_keeps_does_not_grow_with_the_resolution(kind, places, size):
    assert build_head(kind, channels=6, size=size, classes=3, width=0).classifier.in_features == 6 * places


def test_only_convolutions_have_a_width_of_their_own():
    arch = small_arch("resnet", ("erde", "gap", "conv", "linear", "wide"))  # the last two blocks are 16 wide
    assert arch.head_widths == (0, 0, 8, 0, 4 * 16)
    assert [segment.head.width() for segment in build(arch).parts] == [0, 0, 8, 0, 64]
