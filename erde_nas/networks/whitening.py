"""First filters that whiten the images, computed from them and not trained (Jordan 2024, arXiv 2404.00498, 3.2).

The filters are the eigenvectors of the covariance of 2×2 patches, those of most variance first, each divided by the
square root of its eigenvalue and each followed by its negative: a narrower stem has the first of them.
"""

from typing import Any

import torch
from torch import Tensor

from erde_nas.networks.families import family_of
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.stem import SIDE

EPSILON = 5e-4  # added to the eigenvalues, of pixels with unit variance


def patch_covariance(images: Tensor) -> Tensor:
    """Images (n, channels, h, w) uint8 -> the covariance of their 2×2 patches (4 channels, 4 channels) float64."""
    count, size = 0, images.shape[1] * SIDE**2
    total, products = images.new_zeros(size, dtype=torch.float64), images.new_zeros(size, size, dtype=torch.float64)
    for some in images.split(250):
        patches = some.double().unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # (n, channels, h - 1, w - 1, 2, 2)
        rows = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)  # (patches, 4 channels)
        count += len(rows)
        total = total + rows.sum(0)
        products = products + rows.T @ rows
    mean = total / count
    return products / count - torch.outer(mean, mean)


def whitening_filters(covariance: Tensor, count: int) -> Tensor:
    """Of patches' covariance (4 channels, 4 channels) `count` filters (count, channels, 2, 2), two for an eigenvector.

    Without their signs they make the patches' variance 1 in every direction, where it is far above `EPSILON`.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    filters = (vectors / (values.clamp(min=0) + EPSILON).sqrt()).T.flip(0)  # most variance first
    both = torch.stack((filters, -filters), 1).flatten(0, 1)[:count]
    return both.unflatten(1, (-1, SIDE, SIDE))


@torch.no_grad()
def whiten_(network: EarlyExitNetwork, covariance: Tensor) -> EarlyExitNetwork:
    """Give the stem of `network`, where its family has such a one, the filters for images of which `patch_covariance`
    gave `covariance`. Returns the network."""
    if family_of(network.arch.family).whitened:
        layers: list[Any] = list(network.parts[0].body)
        normalize, stem = layers[0], layers[1][0]
        scale = normalize.scale.flatten().double().cpu().repeat_interleave(SIDE**2)
        stem.weight.copy_(whitening_filters(scale[:, None] * covariance.cpu() * scale, len(stem.weight)))
    return network
