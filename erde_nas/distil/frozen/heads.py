"""Training the heads of several places on kept features, each towards the network's own logits.

The network is frozen, so heads have nothing in common: every one is trained as if it were alone, with the recipe's loss
and optimizer, and those of one place share its batches. Places are trained side by side, one on each core.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from torch import Tensor, nn

from erde_nas.device.machine import usable_cores
from erde_nas.distil.frozen.features import Features
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.terms.make import make_term
from erde_nas.distil.training.dropout import seeded_dropout
from erde_nas.distil.training.schedule import group_rates, make_optimizer, trained_of
from erde_nas.errors import TrainingFailed
from erde_nas.networks.attached import AttachedHead, Place
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.seeded import seeded
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.recipe import OptimizerSection

MAP_KINDS = ("gap", "erde", "conv")
POINT_KINDS = ("linear", "wide")  # of tokens and vectors, whose values below 0 count as well


def kinds_at(place: Place) -> tuple[str, ...]:
    """The kinds of heads that are tried at a place."""
    return MAP_KINDS if place.condensed[1] > 1 else POINT_KINDS


def make_heads(place: Place, kinds: Sequence[str], classes: int, seed: int) -> nn.ModuleList:
    """Untrained heads."""
    with seeded(seed + place.number):
        return nn.ModuleList(AttachedHead(place, kind, classes) for kind in kinds)


class HeadTraining:
    """The training of the heads of place number `place`, in place."""

    def __init__(
        self,
        heads: nn.ModuleList,
        place: int,
        features: Features,
        section: DistilSection,
        options: OptimizerSection,
        seed: int,
    ) -> None:
        self.heads, self.section, self.options, self.seed = heads.train(), section, options, seed
        self.seen, self.logits, self.labels = features.seen[place], features.logits, features.labels
        self.steps_per_epoch = max(1, len(self.labels) // options.batch_size)
        exits = len(heads) + 1  # the network's own, which nothing changes, counts as the last
        term = make_term(section, cast(EarlyExitNetwork, heads), None)  # without a teacher's features it reads logits
        self.objective = Objective(section, [1.0] * exits, term)

    def run(self, epochs: int, each: Callable[[int], None], stop: threading.Event) -> None:
        """`each` hears how many images every epoch had. Raises TrainingFailed where the loss is not finite."""
        steps = epochs * self.steps_per_epoch
        rates = group_rates(self.options, steps)
        rate = rates[:1].clone()
        optimizer = make_optimizer(
            trained_of(self.heads.named_parameters(), self.objective.parameters()), self.options, rate
        )
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.arange(0)
        with seeded_dropout(self.heads, generator):
            for step in range(steps):
                if stop.is_set():
                    return
                epoch, within = divmod(step, self.steps_per_epoch)
                order = torch.randperm(len(self.labels), generator=generator) if within == 0 else order
                chosen = order[within * self.options.batch_size :][: self.options.batch_size]
                rate.copy_(rates[step : step + 1])
                loss = self.loss(epoch % len(self.seen), chosen, step / steps)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if within == self.steps_per_epoch - 1:
                    if not loss.isfinite():
                        raise TrainingFailed(f"the loss of the exits became {loss.item()} in epoch {epoch + 1}")
                    each(self.steps_per_epoch * self.options.batch_size)
        self.heads.eval()

    def loss(self, view: int, chosen: Tensor, done: float) -> Tensor:
        """The sum over the heads."""
        x, own = self.seen[view, chosen].float(), self.logits[view, chosen]
        attached = [cast(AttachedHead, head).head(x) for head in self.heads]  # what is kept is condensed already
        student = torch.stack([*attached, own])  # (exits, batch, classes)
        step = Step(
            student,
            self.labels[chosen],
            own.expand_as(student),
            done,
            smoothing=self.options.label_smoothing,
        )
        return self.objective(step) * len(student)


def train_heads(trainings: Sequence[HeadTraining], epochs: int, each: Callable[[int], None]) -> None:
    """Train the heads of every place, as many places at once as there are cores.

    `each` hears of every epoch of a place. An interrupt stops all within a step. Raises TrainingFailed.
    """
    threads, stop = torch.get_num_threads(), threading.Event()
    with ThreadPoolExecutor(len(usable_cores()), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(training.run, epochs, each, stop) for training in trainings]
        try:
            for future in futures:
                future.result()
        finally:
            stop.set()
            torch.set_num_threads(threads)
