"""The network that every student is timed against: fixed, so that a ratio means the same in every run.

It is of the students' kind, many small layers: what slows calls down slows it alike. Against one block of three larger
convolutions, ratios of students spread twice as far between measurements (benchmarks/repeatability.py).
"""

from functools import cache
from pathlib import Path

from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.seeded import seeded
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.segments import export_segments

IMAGE_SHAPE = (1, 16, 16)


def write_reference(path: Path) -> DeployableFile:
    """A residual network for 16×16 images without early exits: a stem and three blocks, 0.69 M MACs."""
    network, model = _reference()
    path.write_bytes(model)
    return DeployableFile(path, network)


@cache
def _reference() -> tuple[EarlyExitNetwork, bytes]:
    arch = make_arch(
        "resnet",
        image_shape=IMAGE_SHAPE,
        classes=10,
        stem=8,
        stages=[StageChoice(1, 8), StageChoice(1, 16), StageChoice(1, 24)],
        exits=[Exit(2, "gap")],
    )
    with seeded(0):
        network = EarlyExitNetwork(arch, [0.5], [0.25]).eval()
    return network, nest(export_segments(network), []).SerializeToString(deterministic=True)
