"""Training the shared weights of one family, continued where it was interrupted.

Everything random in an epoch depends on the recipe's seed, the family and the epoch's number alone, so that a continued
training ends with the same weights as one that was not interrupted.
"""

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erde_nas.distil.context import TrainingContext
from erde_nas.distil.step import Term
from erde_nas.distil.terms.make import make_term
from erde_nas.distil.training.schedule import group_rates, make_optimizer, trained_of
from erde_nas.distil.training.train import steps_per_epoch
from erde_nas.errors import UserError
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.seeded import seeded
from erde_nas.networks.whitening import whiten_
from erde_nas.searching.supernet.checkpoint import Checkpoint, load, save
from erde_nas.searching.supernet.sandwich import Sandwich
from erde_nas.searching.supernet.subnetworks import Subnetworks
from erde_nas.searching.supernet.weights import Weights, shared_names, union

Progress = Callable[[int, int], None]
"""(epochs done, epochs in all)."""

ESTIMATED_FROM = 9  # random sub-networks


def train_family(family: Subnetworks, context: TrainingContext, path: Path, progress: Progress) -> None:
    """Train the shared weights of `family` and keep them in `path` after every epoch.

    Raises UserError where the loss stops being finite; `path` then holds the last epoch that was sound.
    """
    section = context.recipe.supernet
    options, steps = section.train, steps_per_epoch(context.views, section.train)
    begun = load(path)
    weights = _fresh(family, context) if begun is None else begun.weights
    fixed = _fixed(family)
    weights = {n: tensor.to(context.device).requires_grad_(n not in fixed) for n, tensor in weights.items()}
    first = 0 if begun is None else begun.epochs
    progress(first, options.epochs)
    if first == options.epochs:
        return
    rates = group_rates(options, options.epochs * steps).to(context.device)
    rate = rates[:1].clone()
    optimizer = make_optimizer(trained_of(weights.items()), options, rate)
    _resume_(optimizer, weights, {} if begun is None else begun.momenta)
    sandwich = Sandwich(context, weights, _term(family, context))
    torch.set_num_threads(context.compute.threads)
    for epoch in range(first, options.epochs):
        draws, dropout = _generators(family, context, epoch)
        view, loss = epoch % len(context.logits), torch.zeros((), device=context.device)
        batches = context.views.batches(view, context.views.order(epoch), options.batch_size)
        for number, batch in enumerate(batches, epoch * steps):
            archs = [family.largest(draws), family.smallest(draws)]
            archs += [family.random(draws) for _ in range(section.random)]
            optimizer.zero_grad(set_to_none=True)
            rate.copy_(rates[number : number + 1])
            loss += sandwich.backward(archs, view, batch, number / len(rates), dropout)
            optimizer.step()
        if not math.isfinite(float(loss)):
            raise UserError(
                f"the supernet of {family.name} could not be trained: its loss became {float(loss)} in epoch "
                f"{epoch + 1} of {options.epochs}; lower supernet.train.learning_rate (now {options.learning_rate:g}) "
                "and search in a new folder"
            )
        momenta = _momenta(optimizer, weights) if epoch + 1 < options.epochs else {}
        save(path, Checkpoint(weights, momenta, epoch + 1))
        progress(epoch + 1, options.epochs)


def training_seconds(family: Subnetworks, context: TrainingContext) -> float:
    """Estimated seconds of the family's training, from its sub-networks' MACs and the time of a typical student."""
    draws = np.random.default_rng(0)
    random = [exit_macs(family.random(draws))[-1] for _ in range(ESTIMATED_FROM)]
    typical = float(np.median(random))
    section = context.recipe.supernet
    ends = exit_macs(family.largest(draws))[-1] + exit_macs(family.smallest(draws))[-1]
    return context.training_seconds(section.train) * (ends / typical + section.random)


def _fresh(family: Subnetworks, context: TrainingContext) -> Weights:
    """Untrained weights, as an ordinary network of the family's largest architecture starts with."""
    dataset = context.dataset
    with seeded(_seed(family, context)):
        networks = [EarlyExitNetwork(arch, dataset.mean, dataset.std) for arch in family.covering()]
    return union(whiten_(network, context.views.patch_covariance) for network in networks)


def _fixed(family: Subnetworks) -> set[str]:
    """The shared tensors that the family does not train."""
    network = EarlyExitNetwork(family.covering()[-1], [0.5], [0.5])
    return {name for own, name in shared_names(network).items() if not network.get_parameter(own).requires_grad}


def _term(family: Subnetworks, context: TrainingContext) -> Term | None:
    """The recipe's distillation term; it has no parameters, so that one serves all sub-networks."""
    dataset = context.dataset
    network = EarlyExitNetwork(family.largest(np.random.default_rng(0)), dataset.mean, dataset.std)
    return make_term(context.recipe.distil, network.to(context.device), context.teacher.early_exit)


def _seed(family: Subnetworks, context: TrainingContext) -> int:
    return (zlib.crc32(family.name.encode()) + context.recipe.search.seed) % 2**31


def _generators(
    family: Subnetworks, context: TrainingContext, epoch: int
) -> tuple[np.random.Generator, torch.Generator]:
    """For the architectures, and for dropout."""
    draws = np.random.Generator(np.random.Philox(key=[_seed(family, context), epoch]))
    return draws, torch.Generator(context.device).manual_seed(int(draws.integers(2**31)))


def _momenta(optimizer: torch.optim.SGD, weights: Weights) -> dict[str, Tensor]:
    states = {name: optimizer.state[tensor] for name, tensor in weights.items()}
    return {name: state["momentum_buffer"] for name, state in states.items() if "momentum_buffer" in state}


@torch.no_grad()
def _resume_(optimizer: torch.optim.SGD, weights: Weights, momenta: Weights) -> None:
    for name, momentum in momenta.items():
        optimizer.state[weights[name]]["momentum_buffer"].copy_(momentum)
