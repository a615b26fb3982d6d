"""Training one early-exit network on shared views, with the teacher's logits read from a cache.

SGD with Nesterov momentum and a one-cycle learning rate (Smith & Topin, 2018), bf16 autocast where it is faster.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective, cross_entropy_objective
from erde_nas.distil.step import Step
from erde_nas.errors import TrainingFailed
from erde_nas.recipe import OptimizerSection
from erde_nas.students.network import EarlyExitNetwork

CALIBRATION_IMAGES = 64  # in a step of the calibration, which a large teacher would make long otherwise
Progress = Callable[[int, int], None]
"""(epochs done, epochs in all)."""


@dataclass(frozen=True)
class Compute:
    """How a training step runs: `fp32` or `bf16`, threads, and the seconds it took when this was chosen."""

    precision: str
    threads: int
    seconds_per_step: float


@dataclass(frozen=True)
class Targets:
    """Teacher logits (views, images, teacher exits, classes) fp16, and the teacher exit that each student exit uses.

    `network` is the teacher itself, for objectives that need its features.
    """

    logits: Tensor
    exits: tuple[int, ...]
    network: EarlyExitNetwork | None = None

    def batch(self, view: int, chosen: Tensor) -> Tensor:
        """(student exits, batch, classes) float32."""
        return self.logits[view, chosen][:, list(self.exits)].float().transpose(0, 1)


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
) -> float:
    """Train `network` in place for `options.epochs` epochs and return the last epoch's mean loss.

    `seed` rules dropout, `repetition` the order of the images. Raises TrainingFailed where the loss stops being finite.
    """
    torch.set_num_threads(compute.threads)
    torch.manual_seed(seed)
    network.train()
    steps = options.epochs * steps_per_epoch(views, options)
    optimizer, schedule = _optimizer([*network.parameters(), *objective.parameters()], options, steps)
    taken = 0
    mean_loss = float("nan")
    for epoch in range(options.epochs):
        total = torch.zeros((), device=views.images.device)
        batches = _batches(views.order(epoch, repetition), options.batch_size)
        for chosen in batches:
            view = epoch if targets is None else epoch % len(targets.logits)
            value = _step(network, views, objective, targets, view, chosen, compute.precision, taken / steps)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            total += value
            taken += 1
        mean_loss = float(total) / len(batches)
        if not math.isfinite(mean_loss):
            raise TrainingFailed(f"the loss became {mean_loss} in epoch {epoch + 1} of {options.epochs}")
        if progress is not None:
            progress(epoch + 1, options.epochs)
    return mean_loss


def _optimizer(
    parameters: list[Tensor], options: OptimizerSection, steps: int
) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.OneCycleLR]:
    optimizer = torch.optim.SGD(
        parameters,
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.momentum > 0,
        fused=True,
    )
    # One step more than is taken: the schedule may be advanced after the last update.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + 1, pct_start=0.3, cycle_momentum=False
    )
    return optimizer, schedule


def steps_per_epoch(views: Views, options: OptimizerSection) -> int:
    """How many batches an epoch has."""
    return max(1, len(views) // options.batch_size)


def _batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Equal batches of the images in `order`; a short rest is left out (batch norm dislikes tiny batches)."""
    full = max(1, len(order) // batch_size)
    return list(order[: full * batch_size].split(batch_size))


def _step(
    network: EarlyExitNetwork,
    views: Views,
    objective: Objective,
    targets: Targets | None,
    view: int,
    chosen: Tensor,
    precision: str,
    done: float,
) -> Tensor:
    """Forward and backward of one batch; returns the detached loss. `done` is the share of the training before it."""
    images = views.view(view)[chosen]
    features: list[Tensor] = []
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits, hints = network.forward_all(images, rescale_gradients=objective.section.gradient_rescaling)
        if objective.needs_features and targets is not None:
            assert targets.network is not None
            with torch.no_grad():
                features = targets.network.forward_all(images)[1]
    step = Step(
        student=torch.stack(logits).float(),  # (exits, batch, classes)
        labels=views.labels[chosen],
        teacher=None if targets is None else targets.batch(view, chosen),
        done=done,
        student_features=hints,
        teacher_features=features,
    )
    value = objective(step)
    value.backward()
    return value.detach()


def calibrate(
    make_network: Callable[[], EarlyExitNetwork], views: Views, batch_size: int, seconds: float = 2.0
) -> Compute:
    """The fastest way to run a training step here: fp32 or bf16, one thread or all (on a CPU).

    The ways alternate on throw-away networks for about `seconds`; medians decide, and a way must be at least 5 % faster
    to be preferred to an earlier one (fp32 first, one thread first), more threads than one 25 %: when the machine gets
    busy, threads that wait for each other can take many times as long. The time is scaled to a step of `batch_size`.
    """
    device = views.images.device
    all_threads = torch.get_num_threads()
    threads = sorted({1, all_threads}) if device.type == "cpu" else [all_threads]
    ways = [(precision, count) for precision in ("fp32", "bf16") for count in threads]
    networks = {way: make_network().train() for way in ways}
    objective = cross_entropy_objective(len(networks[ways[0]].arch.exits)).to(device)
    chosen = torch.arange(min(batch_size, CALIBRATION_IMAGES, len(views)), device=device)
    times: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    begin = time.perf_counter()
    while len(times[ways[-1]]) < 2 or (time.perf_counter() - begin < seconds and len(times[ways[-1]]) < 20):
        for way, network in networks.items():
            torch.set_num_threads(way[1])
            start = time.perf_counter()
            _step(network, views, objective, None, 0, chosen, way[0], 0.0)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[way].append(time.perf_counter() - start)
    torch.set_num_threads(all_threads)
    medians = {way: statistics.median(t[1:]) for way, t in times.items()}
    cost = {way: median if way[1] == 1 or device.type != "cpu" else median * 1.25 for way, median in medians.items()}
    best = ways[0]
    for way in ways[1:]:
        if cost[way] < 0.95 * cost[best]:
            best = way
    return Compute(best[0], best[1], medians[best] * batch_size / len(chosen))
