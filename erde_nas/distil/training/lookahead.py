"""Weights that follow the trained ones slowly and, every few steps, take their place (Zhang et al., "Lookahead",
NeurIPS 2019, arXiv 1907.08610), with the schedule of airbench (Jordan 2024, arXiv 2404.00498, listing 4)."""

import torch
from torch import Tensor, nn

DECAY = 0.95  # share of the slow weights that one step keeps at the end of the training


class Lookahead:
    """Slow weights of `network`, statistics of its batch norms included, for a training of `steps` steps.

    Every `every` steps they take 1 - DECAY^every · (share of the training that is done)³ of the way to the trained
    weights, which go on from there. `every` 0: nothing happens.
    """

    def __init__(self, network: nn.Module, every: int, steps: int) -> None:
        tensors = network.state_dict().values() if every else ()
        self._fast = [tensor for tensor in tensors if tensor.is_floating_point()]
        self.slow: list[Tensor] = [tensor.detach().clone() for tensor in self._fast]
        self._every, self._steps = every, steps

    @torch.no_grad()
    def after(self, step: int) -> None:
        """To be called after each step; they are counted from 1."""
        if self._every and step % self._every == 0:
            kept = DECAY**self._every * (step / self._steps) ** 3
            torch._foreach_lerp_(self.slow, self._fast, 1 - kept)
            torch._foreach_copy_(self._fast, self.slow)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the slow weights in the network, at the end of the training."""
        if self._every:
            torch._foreach_copy_(self._fast, self.slow)
