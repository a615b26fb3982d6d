"""Dropout from a generator of one's own: several networks that train side by side do not disturb each other's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def seeded_dropout(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Within this context the network's dropout layers draw from `generator`, which lives on the network's device."""

    def drop(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.Dropout)
        keep = 1 - module.p
        mask = torch.empty_like(output, memory_format=torch.contiguous_format).bernoulli_(keep, generator=generator)
        return output * mask.mul_(1 / keep if keep else 0.0)

    layers = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    training = [layer.training for layer in layers]
    hooks = [layer.eval().register_forward_hook(drop) for layer in layers]  # in eval mode a layer passes its input on
    try:
        yield
    finally:
        for layer, mode, hook in zip(layers, training, hooks, strict=True):
            hook.remove()
            layer.train(mode)
