"""Small networks that tests of several modules use: every exit on a block of its own, on digits of 8×8 pixels."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import scores
from erde_nas.onnx_files.write import fp32_segments, write_file
from erde_nas.registry import FAMILIES as RULES

torch.set_num_threads(1)  # the networks are so small that a second thread costs more than it gives

FAMILIES = tuple(RULES)
MEAN, STD = 0.3, 0.4
METADATA = {"classes": "\n".join("abcdefghij"), "exit_fractions": "0.25 0.75", "precision": "fp32"}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits: images (1797, 1, 8, 8) uint8 and labels (1797,) int64."""
    data = load_digits()
    return (data.images * 15.9375).round().astype(np.uint8)[:, None], data.target.astype(np.int64)


def small_arch(
    family: str, heads: tuple[str, ...], *, channels: int = 1, size: int = 8, classes: int = 10, width: int = 8
) -> Arch:
    """One block per head: the earlier half `width` wide, the later half twice as wide at half the resolution."""
    early = (len(heads) + 1) // 2
    stages = [StageChoice(early, width, 3, 2), StageChoice(len(heads) - early, 2 * width, 5, 2)]
    return make_arch(
        family,
        image_shape=(channels, size, size),
        classes=classes,
        stem=8,
        stages=[stage for stage in stages if stage.depth],
        exits=[Exit(block, head) for block, head in enumerate(heads)],
    )


def build(arch: Arch) -> EarlyExitNetwork:
    """An untrained network in eval mode whose numbers all matter: no batch norm is an identity, no bias is 0."""
    generator = torch.Generator().manual_seed(0)
    network = EarlyExitNetwork(arch, [MEAN] * arch.in_channels, [STD] * arch.in_channels)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                limit = (3 / module.weight[0].numel()) ** 0.5
                uniform(module.weight, -limit, limit)
            elif isinstance(module, nn.BatchNorm2d):
                for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5)):
                    uniform(tensor, low, 1.5)
                for tensor in (module.bias, module.running_mean):
                    uniform(tensor, -0.3, 0.3)
            elif isinstance(module, nn.Linear):
                uniform(module.weight, -1, 1)
                uniform(module.bias, -1, 1)
    return network.eval()


def medians(network: EarlyExitNetwork, images: np.ndarray, rule: ExitRule = ENTROPY) -> list[float]:
    """Thresholds with which half of the images that reach an exit leave there; none lies on the score of an image, of
    which rounding would decide."""
    score, thresholds = scores(rule, all_logits(network, images)), []
    for number in range(len(score)):
        ordered = np.sort(score[number])
        thresholds.append(float(ordered[(len(ordered) - 1) // 2 :][:2].mean()))
        score = score[:, score[number] >= thresholds[-1]]
    return thresholds


def write_onnx(network: EarlyExitNetwork, thresholds: list[float], path: Path, rule: ExitRule = ENTROPY) -> Path:
    """The network as a deployable file with the metadata of an export."""
    shares = " ".join(["0.25", *["0"] * (len(thresholds) - 1), "0.75"] if thresholds else ["1"])
    write_file(fp32_segments(network, ()), thresholds, path, {**METADATA, "exit_fractions": shares}, rule)
    return path
