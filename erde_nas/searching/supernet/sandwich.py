"""One step of a supernet's training: several sub-networks on one batch, their gradients summed, one update.

Sandwich rule and in-place distillation: Yu & Huang, ICCV 2019, arXiv 1903.05134; Yu et al., "BigNAS", ECCV 2020,
arXiv 2003.11142. Unlike theirs, every sub-network learns from labels and teacher as the recipe's `distil` section says;
what the largest one adds comes on top: each exit of the others also learns from that exit of the largest which is
nearest in relative depth, by the distillation loss of Hinton et al. (2015) at the recipe's temperature.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from erde_nas.distil.context import TrainingContext
from erde_nas.distil.losses import kd_loss
from erde_nas.distil.objective import Objective, teacher_exits
from erde_nas.distil.step import Step, Term
from erde_nas.distil.training.dropout import seeded_dropout
from erde_nas.distil.training.forward import MEMORY_FORMATS, forward
from erde_nas.networks.arch import Arch
from erde_nas.networks.macs import exit_macs
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.searching.supernet.weights import bind_


class Sandwich:
    """Runs sub-networks of the shared `weights` on batches; the caller's optimizer updates them."""

    def __init__(self, context: TrainingContext, weights: Mapping[str, Tensor], term: Term | None) -> None:
        self._context, self._weights, self._term = context, weights, term
        self._teacher_shares = [macs / context.teacher_macs[-1] for macs in context.teacher_macs]

    def backward(
        self, archs: Sequence[Arch], view: int, batch: tuple[Tensor, Tensor], done: float, generator: torch.Generator
    ) -> Tensor:
        """Add the gradients of all `archs` on one batch of view number `view`; returns the mean of their losses.

        The first of `archs` is the largest. `batch` is (chosen (batch,), images (batch, channels, h, w) uint8), `done`
        the share of the training that is done; dropout draws from `generator`.
        """
        chosen, images = batch
        labels = self._context.views.labels[chosen]
        rows = self._context.logits[view].index_select(0, chosen).transpose(0, 1)  # (teacher exits, batch, classes)
        in_place: tuple[tuple[int, ...], Tensor] | None = None
        total = torch.zeros((), device=images.device)
        for arch in archs:
            macs = exit_macs(arch)
            exits = teacher_exits(macs, self._teacher_shares, self._context.recipe.distil.teacher_exits)
            smoothing = self._context.recipe.supernet.train.label_smoothing
            step = Step(self._logits(arch, images, generator), labels, rows[exits].float(), done, smoothing=smoothing)
            loss = self._loss(step, macs, in_place)
            loss.backward()
            total += loss.detach()
            in_place = in_place or (macs, step.student.detach())
        return total / len(archs)

    def _logits(self, arch: Arch, images: Tensor, generator: torch.Generator) -> Tensor:
        """(exits, batch, classes) float32, from a network that runs on its slice of the shared weights."""
        dataset, compute = self._context.dataset, self._context.compute
        network = bind_(EarlyExitNetwork(arch, dataset.mean, dataset.std), self._weights).train()
        network.to(images.device)
        images = images.contiguous(memory_format=MEMORY_FORMATS[compute.layout])
        with seeded_dropout(network, generator):
            return forward(network, images, compute, self._context.recipe.distil.gradient_flow)[0]

    def _loss(self, step: Step, macs: Sequence[int], in_place: tuple[tuple[int, ...], Tensor] | None) -> Tensor:
        """The recipe's loss, and what the largest sub-network adds to the others'."""
        recipe = self._context.recipe
        objective = Objective(recipe.distil, macs, self._term).to(step.student.device)
        loss = objective(step)
        if in_place is None:
            return loss
        largest, logits = in_place
        nearest = teacher_exits(macs, [count / largest[-1] for count in largest], "nearest")
        per_exit = kd_loss(step.student, logits[nearest], recipe.distil.temperature).mean(-1)  # (exits,)
        return loss + recipe.supernet.inplace_weight * (per_exit * objective.weights).mean()
