"""The network that every student is timed against: fixed, so that a ratio means the same in every run."""

from functools import cache
from pathlib import Path

import torch

from erde_nas.export.nest import nest
from erde_nas.export.segments import export_segments
from erde_nas.records import Exit
from erde_nas.runtimes.interface import Deployable
from erde_nas.students.families import StageChoice, make_arch
from erde_nas.students.network import EarlyExitNetwork

IMAGE_SHAPE = (1, 16, 16)


def write_reference(path: Path) -> Deployable:
    """A residual network for 16×16 images without early exits: a stem and a block of 16 channels, 1.2 M MACs."""
    network, model = _reference()
    path.write_bytes(model)
    return Deployable(path, network)


@cache
def _reference() -> tuple[EarlyExitNetwork, bytes]:
    arch = make_arch(
        "resnet", image_shape=IMAGE_SHAPE, classes=10, stem=16, stages=[StageChoice(1, 16)], exits=[Exit(0, "gap")]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EarlyExitNetwork(arch, [0.5], [0.25]).eval()
    return network, nest(export_segments(network), []).SerializeToString(deterministic=True)
