"""Training one early-exit network on shared views, with the teacher's logits read from a cache.

The step itself is in step_runner.py; on a GPU it is recorded and replayed (graphs.py).
"""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.dropout import seeded_dropout
from erde_nas.distil.training.forward import MEMORY_FORMATS
from erde_nas.distil.training.graphs import fastest_step
from erde_nas.distil.training.lookahead import Lookahead
from erde_nas.distil.training.saved import SavedTraining
from erde_nas.distil.training.step_runner import StepRunner
from erde_nas.distil.training.targets import Targets
from erde_nas.errors import TrainingFailed
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.progress import interrupt
from erde_nas.recipe.optimizer import OptimizerSection

Progress = Callable[[int, int], None]
"""(epochs done, epochs in all)."""


class Stopped(Exception):
    """The training was asked to stop before its end."""


@dataclass(frozen=True)
class Training:
    """What is trained, on what, towards what. `network` and `objective` are changed; trainings share neither.

    `seed` rules dropout, `repetition` the order of the images. `targets` are the teacher's logits, where there are any.
    """

    network: EarlyExitNetwork
    views: Views
    objective: Objective
    options: OptimizerSection
    targets: Targets | None
    seed: int
    compute: Compute
    repetition: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return steps_per_epoch(self.views, self.options)

    @property
    def teacher(self) -> EarlyExitNetwork | None:
        """The teacher itself, where the objective may ask for its features."""
        return None if self.targets is None else self.targets.network

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Images (batch, channels, h, w) uint8, labels (batch,) and teacher logits (exits, batch, classes)."""
        views, targets = self.views, self.targets
        view = epoch if targets is None else epoch % len(targets.logits)
        for chosen, images in views.batches(view, views.order(epoch, self.repetition), self.options.batch_size):
            yield images, views.labels[chosen], None if targets is None else targets.batch(view, chosen)


def train(
    training: Training,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    saved: SavedTraining | None = None,
) -> float:
    """Train its network in place for its `options.epochs` epochs and return the last epoch's mean loss.

    `stop` may be set by another thread. With `saved` it is kept after every epoch and continued from there, to the same
    weights, bit for bit, where its compute is the same. Raises TrainingFailed where the loss stops being finite, and
    Stopped.
    """
    compute, epochs, steps = training.compute, training.options.epochs, training.steps_per_epoch
    torch.set_num_threads(compute.threads)
    training.network.train().to(memory_format=MEMORY_FORMATS[compute.layout])  # type: ignore[call-overload]
    generator = torch.Generator(training.views.device).manual_seed(training.seed)
    runner = StepRunner(
        training.network,
        training.objective,
        training.options,
        steps=epochs * steps,
        compute=compute,
        teacher=training.teacher,
    )
    slow = Lookahead(training.network, training.options.lookahead, epochs * steps)
    state = [*runner.state(), *slow.slow]
    begun = 0 if saved is None else saved.restore_(state, generator)
    if progress is not None:
        for done in range(begun):
            progress(done + 1, epochs)
    step: Callable[[], None] | None = None
    mean_loss = float("nan")
    with seeded_dropout(training.network, generator):
        for epoch in range(begun, epochs):
            for number, batch in enumerate(training.batches(epoch), epoch * steps + 1):
                if stop is not None and stop.is_set():
                    raise Stopped
                interrupt.check()
                runner.load(*batch)
                step = step or fastest_step(runner, generator)
                step()
                slow.after(number)
            mean_loss = runner.take_loss() / steps
            if not math.isfinite(mean_loss):
                raise TrainingFailed(f"the loss became {mean_loss} in epoch {epoch + 1} of {epochs}")
            if saved is not None:
                saved.save(epoch + 1, compute, state, generator)
            if progress is not None:
                progress(epoch + 1, epochs)
    slow.finish()
    return mean_loss


def steps_per_epoch(views: Views, options: OptimizerSection) -> int:
    """How many batches an epoch has."""
    return max(1, len(views) // options.batch_size)
