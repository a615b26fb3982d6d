"""The forward pass of every training, in the precision that suits the machine."""

import torch
from torch import Tensor

from erde_nas.distil.training.compute import Compute, Layout
from erde_nas.networks.gradient_flow import WHOLE, GradientFlow
from erde_nas.networks.network import EarlyExitNetwork

MEMORY_FORMATS: dict[Layout, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}


def forward(
    network: EarlyExitNetwork, images: Tensor, compute: Compute | None = None, flow: GradientFlow = WHOLE
) -> tuple[Tensor, list[Tensor]]:
    """Images (batch, channels, h, w) uint8 -> logits (exits, batch, classes) float32, and the features of each stage.

    Without `compute` everything is in fp32.
    """
    bf16 = compute is not None and compute.precision == "bf16"
    # No weight is used twice in a pass, so the cache of cast weights, which all threads share, saves nothing.
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
        logits, features = network.forward_all(images, flow)
    return torch.stack(logits).float(), features


@torch.no_grad()
def features_of(teacher: EarlyExitNetwork | None, images: Tensor, compute: Compute | None = None) -> list[Tensor]:
    """The features of each stage of a teacher that is there, for terms that compare them."""
    return [] if teacher is None else forward(teacher, images, compute)[1]
