"""The optimizer of every training, in a form that a recorded step can replay: its learning rates are a tensor.

SGD with Nesterov momentum or without, and a one-cycle learning rate (Smith & Topin, arXiv 1708.07120), annealed by
cosines as in torch's OneCycleLR with its defaults, or one that falls at milestones, as in its MultiStepLR.
"""

import math

import torch
from torch import Tensor

from erde_nas.recipe.recipe import OptimizerSection

RISE = 0.3  # share of the steps in which the rate rises
START, END = 1 / 25, 1 / 25 / 1e4  # first and last rate, as a share of the highest


def learning_rates(options: OptimizerSection, steps: int) -> Tensor:
    """The learning rate of each of all `steps` of a training (steps,) float32."""
    if options.milestones is None:
        return one_cycle(options.learning_rate, steps)
    ends = torch.tensor([mark * steps // options.epochs for mark in options.milestones], dtype=torch.int64)
    passed = torch.searchsorted(ends, torch.arange(steps), right=True).double()  # milestones before each step
    return (options.learning_rate * options.gamma**passed).float()


def one_cycle(highest: float, steps: int) -> Tensor:
    """The learning rate of each step (steps,) float32."""
    top = RISE * (steps + 1) - 1  # the step with the highest rate; the lowest would come one step after the last
    at = torch.arange(steps, dtype=torch.float64)
    up = _anneal(START, 1.0, at / top)
    down = _anneal(1.0, END, (at - top) / (steps - top))
    return (highest * torch.where(at <= top, up, down)).float()


def _anneal(start: float, end: float, share: Tensor) -> Tensor:
    return end + (start - end) / 2 * (1 + torch.cos(math.pi * share))


def make_optimizer(parameters: list[Tensor], options: OptimizerSection, rate: Tensor) -> torch.optim.SGD:
    """SGD that reads its learning rate from `rate` (1,). Its momenta exist from the start, at 0: a recorded step
    must find them."""
    optimizer = torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov and options.momentum > 0,
        fused=True,
    )
    if options.momentum > 0:
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
