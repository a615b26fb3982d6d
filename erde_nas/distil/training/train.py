"""Training one early-exit network on shared views, with the teacher's logits read from a cache.

The step itself is in step_runner.py; on a GPU it is recorded and replayed (graphs.py).
"""

import math
import threading
from collections.abc import Callable

import torch

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.dropout import seeded_dropout
from erde_nas.distil.training.forward import MEMORY_FORMATS
from erde_nas.distil.training.graphs import fastest_step
from erde_nas.distil.training.step_runner import StepRunner
from erde_nas.distil.training.targets import Targets
from erde_nas.errors import TrainingFailed
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.recipe import OptimizerSection

Progress = Callable[[int, int], None]
"""(epochs done, epochs in all)."""


class Stopped(Exception):
    """The training was asked to stop before its end."""


def train(
    network: EarlyExitNetwork,
    views: Views,
    objective: Objective,
    options: OptimizerSection,
    *,
    targets: Targets | None,
    seed: int,
    compute: Compute,
    repetition: int = 0,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> float:
    """Train `network` in place for `options.epochs` epochs and return the last epoch's mean loss.

    `seed` rules dropout, `repetition` the order of the images; `stop` may be set by another thread. Raises
    TrainingFailed where the loss stops being finite, and Stopped.
    """
    torch.set_num_threads(compute.threads)
    network.train().to(memory_format=MEMORY_FORMATS[compute.layout])  # type: ignore[call-overload]
    steps = steps_per_epoch(views, options)
    generator = torch.Generator(views.device).manual_seed(seed)
    runner = StepRunner(
        network,
        objective,
        options,
        steps=options.epochs * steps,
        compute=compute,
        teacher=None if targets is None else targets.network,
    )
    step: Callable[[], None] | None = None
    mean_loss = float("nan")
    with seeded_dropout(network, generator):
        for epoch in range(options.epochs):
            view = epoch if targets is None else epoch % len(targets.logits)
            for chosen, images in views.batches(view, views.order(epoch, repetition), options.batch_size):
                if stop is not None and stop.is_set():
                    raise Stopped
                runner.load(images, views.labels[chosen], None if targets is None else targets.batch(view, chosen))
                step = step or fastest_step(runner, generator)
                step()
            mean_loss = runner.take_loss() / steps
            if not math.isfinite(mean_loss):
                raise TrainingFailed(f"the loss became {mean_loss} in epoch {epoch + 1} of {options.epochs}")
            if progress is not None:
                progress(epoch + 1, options.epochs)
    return mean_loss


def steps_per_epoch(views: Views, options: OptimizerSection) -> int:
    """How many batches an epoch has."""
    return max(1, len(views) // options.batch_size)
