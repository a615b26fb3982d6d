"""All exits' logits of a network for a whole set of images."""

import numpy as np
import torch
from torch import nn

BATCH_PIXELS = 256 * 64 * 64


@torch.no_grad()
def all_logits(network: nn.Module, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Images (n, channels, h, w) uint8 -> logits (exits, n, classes) float32. `network` maps images to a list of
    logits and is left in eval mode. Images above 64×64 pixels come in smaller batches, of as much memory."""
    network.eval()
    batch_size = max(1, min(batch_size, BATCH_PIXELS // (images.shape[-1] * images.shape[-2])))
    device = next((tensor.device for tensor in (*network.parameters(), *network.buffers())), torch.device("cpu"))
    batches = [
        torch.stack(network(torch.from_numpy(images[i : i + batch_size]).to(device))).float().cpu()
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(batches, dim=1).numpy()
