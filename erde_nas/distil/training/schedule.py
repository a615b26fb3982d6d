"""The optimizer of every training, in a form that a recorded step can replay: its learning rates are a tensor.

SGD with Nesterov momentum or without, and a one-cycle learning rate (Smith & Topin, arXiv 1708.07120), annealed by
cosines as in torch's OneCycleLR with its defaults, a triangular one, or one that falls at milestones, as in its
MultiStepLR.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from erde_nas.recipe.optimizer import OptimizerSection

RISE = 0.3  # share of the steps in which the rate rises
LOW, PEAK, LAST = 0.2, 0.23, 0.07  # triangular: the first and last rate, and the share of the steps before the highest
START, END = 1 / 25, 1 / 25 / 1e4  # first and last rate, as a share of the highest


def learning_rates(options: OptimizerSection, steps: int) -> Tensor:
    """The learning rate of each of all `steps` of a training (steps,) float32."""
    if options.schedule == "triangular":
        return triangular(options.learning_rate, steps)
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


def triangular(highest: float, steps: int) -> Tensor:
    """The learning rate of each step (steps,) float32: it rises and falls in straight lines, as airbench's (Jordan
    2024, arXiv 2404.00498, listing 4)."""
    done = torch.arange(steps, dtype=torch.float64) / steps
    up = LOW + (1 - LOW) * done / PEAK
    down = 1 + (LAST - 1) * (done - PEAK) / (1 - PEAK)
    return (highest * torch.where(done < PEAK, up, down)).float()


def group_rates(options: OptimizerSection, steps: int) -> Tensor:
    """The learning rates of each step (steps, 2) float32: of most, and of biases outside of heads."""
    rates = learning_rates(options, steps)
    return torch.stack((rates, rates * options.bias_rate), 1)


@dataclass
class Trained:
    """What is trained: weights, the biases of norms and convolutions outside of heads, and the other vectors. (Heads
    with a norm and a ReLU die at the rates that suit the biases before them.)"""

    weights: list[Tensor] = field(default_factory=list)
    biases: list[Tensor] = field(default_factory=list)
    others: list[Tensor] = field(default_factory=list)


def trained_of(named: Iterable[tuple[str, Tensor]], more: Iterable[Tensor] = ()) -> Trained:
    """A network's named parameters, as far as they are trained, by their kind; `more` are weights."""
    found = Trained(weights=list(more))
    for name, tensor in named:
        if tensor.requires_grad:
            bias = name.endswith("bias") and "head" not in name
            kind = found.weights if tensor.ndim > 1 else found.biases if bias else found.others
            kind.append(tensor)
    return found


def _anneal(start: float, end: float, share: Tensor) -> Tensor:
    return end + (start - end) / 2 * (1 + torch.cos(math.pi * share))


def make_optimizer(trained: Trained, options: OptimizerSection, rates: Tensor) -> torch.optim.SGD:
    """SGD that reads the learning rates of `group_rates` from `rates` (1, 2).

    Its momenta exist from the start, at 0: a recorded step must find them.

    Weight decay shrinks biases as fast as weights, whatever their rate, or not at all.
    """
    decay = options.weight_decay if options.decay_norms else 0.0
    groups = [
        {"params": trained.weights, "lr": rates[0, :1], "weight_decay": options.weight_decay},
        {"params": trained.biases, "lr": rates[0, 1:], "weight_decay": decay / options.bias_rate},
        {"params": trained.others, "lr": rates[0, :1], "weight_decay": decay},
    ]
    optimizer = torch.optim.SGD(
        [group for group in groups if group["params"]],
        momentum=options.momentum,
        nesterov=options.nesterov and options.momentum > 0,
        fused=True,
    )
    if options.momentum > 0:
        for parameter in (*trained.weights, *trained.biases, *trained.others):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
