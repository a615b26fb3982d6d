"""Training one early-exit network on shared views, with the teacher's logits read from a cache.

SGD with Nesterov momentum and a one-cycle learning rate (Smith & Topin, 2018), bf16 autocast where it is faster.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from erde_nas.data.views import Views
from erde_nas.distil.objective import ExitsLoss
from erde_nas.errors import TrainingFailed
from erde_nas.recipe import OptimizerSection
from erde_nas.students.network import EarlyExitNetwork

Progress = Callable[[int, int], None]
"""(epochs done, epochs in all)."""


@dataclass(frozen=True)
class Targets:
    """Teacher logits (views, images, teacher exits, classes) fp16, and the teacher exit that each student exit uses."""

    logits: Tensor
    exits: tuple[int, ...]

    def batch(self, view: int, chosen: Tensor) -> Tensor:
        """(student exits, batch, classes) float32."""
        return self.logits[view, chosen][:, list(self.exits)].float().transpose(0, 1)


def train(
    network: EarlyExitNetwork,
    views: Views,
    loss: ExitsLoss,
    options: OptimizerSection,
    *,
    targets: Targets | None,
    seed: int,
    precision: str,
    progress: Progress | None = None,
) -> float:
    """Train `network` in place for `options.epochs` epochs and return the last epoch's mean loss.

    `precision` is `fp32` or `bf16`. Raises TrainingFailed where the loss stops being finite.
    """
    torch.manual_seed(seed)
    network.train()
    steps = options.epochs * max(1, len(views) // options.batch_size)
    optimizer, schedule = _optimizer(network, options, steps)
    mean_loss = float("nan")
    for epoch in range(options.epochs):
        total = torch.zeros((), device=views.images.device)
        batches = _batches(views, epoch, options.batch_size)
        for chosen in batches:
            value = _step(network, views, loss, targets, epoch % views.count, chosen, precision)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            total += value
        mean_loss = float(total) / len(batches)
        if not mean_loss == mean_loss or abs(mean_loss) == float("inf"):
            raise TrainingFailed(f"the loss became {mean_loss} in epoch {epoch + 1} of {options.epochs}")
        if progress is not None:
            progress(epoch + 1, options.epochs)
    return mean_loss


def _optimizer(
    network: EarlyExitNetwork, options: OptimizerSection, steps: int
) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.OneCycleLR]:
    optimizer = torch.optim.SGD(
        network.parameters(),
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


def _batches(views: Views, epoch: int, batch_size: int) -> list[Tensor]:
    """Equal batches in the epoch's order; a short rest is left out (batch norm dislikes tiny batches)."""
    order = views.order(epoch)
    full = max(1, len(views) // batch_size)
    return list(order[: full * batch_size].split(batch_size))


def _step(
    network: EarlyExitNetwork,
    views: Views,
    loss: ExitsLoss,
    targets: Targets | None,
    view: int,
    chosen: Tensor,
    precision: str,
) -> Tensor:
    """Forward and backward of one batch; returns the detached loss."""
    images = views.view(view)[chosen]
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = network(images)
    student = torch.stack(logits).float()  # (exits, batch, classes)
    value = loss(student, None if targets is None else targets.batch(view, chosen), views.labels[chosen])
    value.backward()
    return value.detach()


def faster_precision(
    make_network: Callable[[], EarlyExitNetwork], views: Views, loss: ExitsLoss, batch_size: int, seconds: float = 2.0
) -> str:
    """`bf16` where a training step is at least 5 % faster with it on this device, else `fp32`.

    Steps of both alternate on throw-away networks, within about `seconds`; medians decide.
    """
    networks = {precision: make_network().to(views.images.device).train() for precision in ("fp32", "bf16")}
    chosen = torch.arange(min(batch_size, len(views)), device=views.images.device)
    times: dict[str, list[float]] = {precision: [] for precision in networks}
    begin = time.perf_counter()
    while len(times["bf16"]) < 3 or (time.perf_counter() - begin < seconds and len(times["bf16"]) < 20):
        for precision, network in networks.items():
            start = time.perf_counter()
            _step(network, views, loss, None, 0, chosen, precision)
            if views.images.device.type == "cuda":
                torch.cuda.synchronize()
            times[precision].append(time.perf_counter() - start)
    medians = {precision: sorted(t[1:])[len(t[1:]) // 2] for precision, t in times.items()}
    return "bf16" if medians["bf16"] < 0.95 * medians["fp32"] else "fp32"
