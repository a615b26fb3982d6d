"""All exits' logits of a network for a whole set of images."""

import numpy as np
import torch

from erde_nas.students.network import EarlyExitNetwork


@torch.no_grad()
def all_logits(network: EarlyExitNetwork, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Images (n, channels, h, w) uint8 -> logits (exits, n, classes) float32. The network is left in eval mode."""
    network.eval()
    device = next(network.parameters()).device
    batches = [
        torch.stack(network(torch.from_numpy(images[i : i + batch_size]).to(device))).float().cpu()
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(batches, dim=1).numpy()
