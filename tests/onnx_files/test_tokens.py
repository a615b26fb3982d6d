"""Features between segments need not be maps: tokens and vectors keep their axes in the file and in its segments."""

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.arch import Exit
from erde_nas.networks.attached import AttachedArch, AttachedHead, AttachedNetwork, LastLogits, Place
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import Normalize
from erde_nas.onnx_files.nest import split
from erde_nas.onnx_files.write import check_export, fp32_segments, write_file


class Tokens(nn.Module):
    """Patches of 4x4 pixels as tokens, with one for the class before them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 24, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, 1, 24))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 8, 8) -> (batch, 5, 24)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], 1)


class First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """(batch, n, channels) -> the first token (batch, channels)."""
        return x[:, 0]


def transformer() -> AttachedNetwork:
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(24, 4, 48, dropout=0.0, batch_first=True) for _ in range(2)]
    pieces = [
        nn.Sequential(Tokens(), layers[0]),
        nn.Sequential(layers[1], First()),
        nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 3)),
    ]
    places = [Place(0, "tokens", (5, 24)), Place(1, "vector", (24,))]
    heads = [AttachedHead(place, "linear", 3) for place in places]
    arch = AttachedArch("own.pt2", (1, 8, 8), 3, (Exit(0, "linear"), Exit(1, "linear"), Exit(2, "own")))
    return AttachedNetwork(arch, pieces, heads, Normalize([0.5], [0.25]), LastLogits()).eval()


def test_a_transformer_stops_early_in_one_file_and_in_batches(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), np.uint8)
    network, path, thresholds = transformer(), tmp_path / "model.onnx", [0.9, 0.95]
    write_file(fp32_segments(network, (1, 8, 8)), thresholds, path, {})
    check_export(path, network, images, thresholds)
    segments = split(onnx.load(path))
    assert [len(segment.graph.input[0].type.tensor_type.shape.dim) for segment in segments] == [4, 3, 2]
    for segment in segments:
        onnx.checker.check_model(segment, full_check=True)
    found = run_segments([segment.SerializeToString() for segment in segments], images)
    np.testing.assert_allclose(found, all_logits(network, images), rtol=1e-4, atol=1e-5)
