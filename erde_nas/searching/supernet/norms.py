"""Statistics of batch norm for a network whose weights were trained in the company of others.

A slice's activations are distributed otherwise than the whole's, so running statistics cannot be shared: they are taken
anew for every slice (Yu & Huang, ICCV 2019, arXiv 1903.05134, section 3.3).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from erde_nas.networks.network import EarlyExitNetwork


@torch.no_grad()
def reestimate_(network: EarlyExitNetwork, batches: Iterable[Tensor]) -> EarlyExitNetwork:
    """Set every batch norm's statistics to the means over `batches`, images (batch, channels, h, w) uint8, of each
    batch's own mean and unbiased variance; no weight changes. The network is left in eval mode and returned."""
    network.eval()  # dropout must not disturb what is counted
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: the mean over all batches
        norm.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()
