"""The step over static inputs gives the weights of a loop that anyone would write, bit for bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step, Term
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.forward import MEMORY_FORMATS
from erde_nas.distil.training.schedule import one_cycle
from erde_nas.distil.training.step_runner import StepRunner
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection

OPTIONS = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.05, weight_decay=0.01)
MACS = (1.0, 2.0)


def plain_loop(
    network: EarlyExitNetwork,
    views: Views,
    objective: Objective,
    options: OptimizerSection,
    targets: Targets | None,
    compute: Compute,
) -> list[float]:
    """The same training, with torch's own schedule and nothing kept between steps; the losses. No dropout."""
    network.train().to(memory_format=MEMORY_FORMATS[compute.layout])
    parameters = [*network.parameters(), *objective.parameters()]
    optimizer = torch.optim.SGD(
        parameters,
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=True,
        fused=True,
    )
    batches = len(views) // options.batch_size
    steps = options.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + 1, pct_start=0.3, cycle_momentum=False
    )
    losses: list[float] = []
    for epoch in range(options.epochs):
        for chosen in views.order(epoch)[: batches * options.batch_size].split(options.batch_size):
            view = epoch if targets is None else epoch % len(targets.logits)
            images = views.view(view)[chosen].contiguous(memory_format=MEMORY_FORMATS[compute.layout])
            with torch.autocast("cpu", torch.bfloat16, compute.precision == "bf16"):
                logits, features = network.forward_all(images)
            teacher = None
            if targets is not None:
                teacher = torch.stack([targets.logits[view, chosen, e] for e in targets.exits]).float()
            step = Step(
                student=torch.stack(logits).float(),
                labels=views.labels[chosen],
                teacher=teacher,
                done=torch.tensor(len(losses) / steps),
                student_features=features,
            )
            loss = objective(step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = float(np.float32(schedule.get_last_lr()[0]))  # the rates are float32
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
    return losses


def with_a_scale(section: DistilSection) -> Objective:
    """An objective whose distillation term has a parameter of its own, which is trained along."""

    class Scaled(Term):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.kd = KD(2.0)

        def forward(self, step: Step, weight: Tensor) -> Tensor:
            return self.scale * self.kd(step, weight)

    return Objective(section, MACS, Scaled())


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_equal_those_of_a_plain_loop_bit_for_bit(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork], precision: str, layout: Any
) -> None:
    views = make_views(crop_padding=1, flip=True)
    logits = torch.randn(2, 96, 3, 3, generator=torch.Generator().manual_seed(0)).half()
    targets = Targets(logits, (0, 2))
    section = DistilSection(entropy_warmup=0.5, kd_warmup=0.25, wrong_weight=0.1)
    compute = Compute(precision, 1, 0.0, layout)
    ours, theirs = (make_network(head="gap") for _ in range(2))
    objective, other = with_a_scale(section), with_a_scale(section)
    last = train(Training(ours, views, objective, OPTIONS, targets=targets, seed=0, compute=compute))
    losses = plain_loop(theirs, views, other, OPTIONS, targets, compute)
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(objective.term.scale, other.term.scale)  # type: ignore[union-attr]
    assert float(objective.term.scale.detach()) != 1  # type: ignore[union-attr]
    assert last == pytest.approx(sum(losses[-6:]) / 6, rel=1e-6)


def test_without_targets_too(make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]) -> None:
    ours, theirs = (make_network(head="gap") for _ in range(2))
    compute, views = Compute("fp32", 1, 0.0), make_views()
    train(Training(ours, views, Objective(DistilSection(), MACS), OPTIONS, targets=None, seed=0, compute=compute))
    plain_loop(theirs, views, Objective(DistilSection(), MACS), OPTIONS, None, compute)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 600])
def test_one_cycle_is_that_of_torch(steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=steps + 1, pct_start=0.3)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert one_cycle(0.3, steps).tolist() == pytest.approx(rates, rel=1e-6)


def test_the_inputs_stay_where_they_are_and_the_state_can_be_put_back(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    """What a recording relies on: `run` reads the same memory each time, and `state` is all that it changes."""
    views, network = make_views(), make_network(head="gap")
    objective = Objective(DistilSection(), MACS, KD(3.0))
    network.train()
    runner = StepRunner(network, objective, OPTIONS, steps=20, compute=Compute("fp32", 1, 0.0))
    teacher = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0))
    runner.load(views.images[:16], views.labels[:16], teacher)
    inputs = [runner._images, runner._labels, runner._teacher_logits]
    places = [tensor.data_ptr() for tensor in inputs + runner.state()]  # type: ignore[union-attr]

    def two_steps() -> list[Tensor]:
        for start in (0, 16):
            runner.load(views.images[start : start + 16], views.labels[start : start + 16], teacher)
            runner.run()
        return [tensor.clone() for tensor in runner.state()]

    before = [tensor.clone() for tensor in runner.state()]
    first = two_steps()
    assert not all(torch.equal(a, b) for a, b in zip(before, first, strict=True))
    with torch.no_grad():
        for tensor, old in zip(runner.state(), before, strict=True):
            tensor.copy_(old)
    assert all(torch.equal(a, b) for a, b in zip(two_steps(), first, strict=True))
    assert [tensor.data_ptr() for tensor in inputs + runner.state()] == places  # type: ignore[union-attr]
    assert torch.equal(runner._images, views.images[16:32])  # type: ignore[arg-type]
