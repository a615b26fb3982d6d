"""What keeps an int8 file accurate: nothing, layers in fp32, or quantization-aware training, in this order."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from erde_nas.compression.int8 import QAT_WEIGHTS, accurate, calibration_images, quantized
from erde_nas.data.dataset import Split
from erde_nas.data.views import Views
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.train import Training
from erde_nas.networks.weights import save_network
from erde_nas.onnx_files.file_kind import FP32
from erde_nas.onnx_files.quantize import Quantization
from erde_nas.onnx_files.segments import export_segments
from erde_nas.onnx_files.write import Segments
from erde_nas.recipe.images import ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.recipe import CompressSection
from tests.networks.builders import build, digits, small_arch

IMAGES, LABELS = digits()
HOW = Quantization(weight_bits=7)
LABELS = LABELS.astype(np.int64)
TRAIN, VALIDATION = Split(IMAGES[:1000], LABELS[:1000]), Split(IMAGES[1000:1400], LABELS[1000:1400])


def student(ruined):
    """A student taught by a few epochs, some of whose blocks have an inner channel 600 times too large, made good
    behind it: in fp32 nothing changes, in int8 the block's other inner channels have no steps left."""
    network = build(small_arch("resnet", ("gap", "gap"), width=16)).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    images, labels = torch.from_numpy(TRAIN.images), torch.from_numpy(TRAIN.labels)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for chosen in torch.randperm(1000, generator=generator).split(100):
            optimizer.zero_grad()
            sum(functional.cross_entropy(out, labels[chosen]) for out in network(images[chosen])).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        for number in ruined:
            block = network.parts[number].body[-1]
            block.first[1].weight[0] *= 600
            block.first[1].bias[0] *= 600
            block.second[0].weight[:, 0] /= 600
    return network


def context(**options):
    train = OptimizerSection(epochs=1, batch_size=50, learning_rate=0.05)
    views = Views(TRAIN, ViewsSection(), seed=0, device=torch.device("cpu"))

    def training(network, options):
        return Training(network, views, cross_entropy_objective(2), options, None, 0, Compute("fp32", 1, 0.001))

    return SimpleNamespace(
        exit_rule=ENTROPY,
        dataset=SimpleNamespace(train=TRAIN, validation=VALIDATION),
        recipe=SimpleNamespace(compress=CompressSection(train=train, calibration_images=64, **options)),
        device=torch.device("cpu"),
        training=training,
    )


def settle(network, folder, **options):
    save_network(network, folder)
    run, fp32, said = context(**options), export_segments(network), []
    static = quantized(fp32, HOW, calibration_images(run))
    return static, accurate(static, fp32, folder, run, said.append), said, fp32


def accuracy(segments):
    return (segments.logits(VALIDATION.images)[-1].argmax(-1) == VALIDATION.labels).mean()


@pytest.fixture(scope="module")
def one_ruined():
    return student([1])


def test_a_file_that_is_accurate_enough_stays_as_it_is(tmp_path, one_ruined):
    static, made, said, _ = settle(one_ruined, tmp_path, int8_drop=0.99)
    assert (made is static, made.text, said) == (True, "static", [])


def test_ruined_layers_stay_in_fp32(tmp_path, one_ruined):
    static, made, _, fp32 = settle(one_ruined, tmp_path, int8_drop=0.01)
    whole = accuracy(Segments(FP32, fp32))
    assert accuracy(static.segments) < whole - 0.01
    assert accuracy(made.segments) >= whole - 0.02  # the bound is on the best operating point, not on the last exit
    assert made.text == f"mixed, {len(made.how.kept)} layer{'s' * (len(made.how.kept) > 1)} in fp32"
    assert any(name.startswith("s1/") for name in made.how.kept)
    assert not (tmp_path / QAT_WEIGHTS[7]).exists()


def test_training_comes_last_and_once(tmp_path, monkeypatch, one_ruined):
    monkeypatch.setattr("erde_nas.compression.int8.keep_sensitive", lambda *_: None)
    static, made, said, _ = settle(one_ruined, tmp_path, int8_drop=0.01, qat_epochs=3)
    assert "quantization-aware training" in said[-1]
    assert made.text.startswith("qat")
    assert accuracy(made.segments) > accuracy(static.segments)
    weights = (tmp_path / QAT_WEIGHTS[7]).stat().st_mtime_ns
    again = settle(one_ruined, tmp_path, int8_drop=0.01, qat_epochs=3)[1]
    assert (tmp_path / QAT_WEIGHTS[7]).stat().st_mtime_ns == weights
    assert again.text == made.text
    assert settle(one_ruined, tmp_path, int8_drop=0.01, qat_epochs=0)[1].text == "static, beyond the allowed drop"


def test_calibration_sees_training_images_from_all_over_the_split():
    images = calibration_images(context())
    assert len(images) == 64
    chosen = [next(i for i in range(1000) if np.array_equal(TRAIN.images[i], image)) for image in images]
    assert (chosen[0], chosen[-1]) == (0, 999)
    assert np.diff(chosen).max() <= 17
