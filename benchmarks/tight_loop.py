"""The loop that training.py is compared with on one core: what remains if nothing is general.

Cached teacher logits, augmented pixels that lie in memory, one precision and layout for one network: written by hand
for this one training. Views, loss, optimizer and schedule are those of erde-nas.
"""

import torch
from torch import Tensor

from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.forward import MEMORY_FORMATS
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.optimizer import OptimizerSection


def tight_training(
    student: EarlyExitNetwork,
    views: list[Tensor],
    labels: Tensor,
    logits: Tensor,
    objective: Objective,
    options: OptimizerSection,
    compute: Compute,
) -> None:
    """Train `student` in place on the CPU. `views` are pixels (n, channels, h, w) uint8, one tensor for each epoch;
    `logits` (views, n, exits, classes) those that its exits learn from."""
    layout = MEMORY_FORMATS[compute.layout]
    student.train().to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=True,
        fused=True,
    )
    batches = len(labels) // options.batch_size
    steps = options.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + 1, pct_start=0.3, cycle_momentum=False
    )
    for epoch in range(options.epochs):
        pixels, taught = views[epoch % len(views)], logits[epoch % len(logits)]
        for number, chosen in enumerate(
            torch.randperm(len(labels))[: batches * options.batch_size].split(options.batch_size)
        ):
            images = pixels[chosen].contiguous(memory_format=layout)
            teacher = taught[chosen].transpose(0, 1).float()
            with torch.autocast("cpu", torch.bfloat16, compute.precision == "bf16"):
                out = student(images)
            done = (epoch * batches + number) / steps
            loss = objective(Step(torch.stack(out).float(), labels[chosen], teacher, done))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
