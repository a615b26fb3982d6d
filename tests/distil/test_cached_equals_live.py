"""What the cache of teacher logits costs in accuracy: the rounding to fp16 and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.teachers.cached_logits import cached_logits
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.terms.dkd import DKD
from erde_nas.distil.terms.kd import KD
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection

MACS = (1.0, 2.0)
EXITS = (0, 1)
OPTIONS = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.05)
HALF_ULP, LEAST = 2.0**-11, 2.0**-25  # of fp16: relative, and of its smallest numbers


@pytest.fixture
def teacher(make_network: Callable[..., EarlyExitNetwork]) -> Teacher:
    """A teacher with an opinion: one epoch of weights away from its initial ones."""
    network = make_network(seed=5)
    with torch.no_grad():
        for head in network.parts:
            head.head.classifier.weight.mul_(8)
    return Teacher(network.eval(), "a-teacher", trained=True)


class Compared(Objective):
    """The loss from cached logits; beside it the one with the teacher run on the step's own images."""

    def __init__(self, section: DistilSection, term: KD | DKD, teacher: EarlyExitNetwork) -> None:
        super().__init__(section, MACS, term)
        self.live = (teacher,)  # in a tuple: not one of its own modules
        self.seen: list[tuple[float, float, float]] = []  # cached, live, the most that rounding may cost

    def with_images(self, images: Tensor, step: Step) -> None:
        with torch.no_grad():
            live = torch.stack([self.live[0](images)[e] for e in EXITS])
        live.requires_grad_(True)
        own = super().forward(Step(step.student.detach(), step.labels, live, step.done))
        (slope,) = torch.autograd.grad(own, live)
        cached = super().forward(Step(step.student.detach(), step.labels, step.teacher, step.done))
        assert step.teacher is not None
        assert torch.equal(step.teacher, live.detach().half().float())
        bound = float((slope.abs() * (live.abs() * HALF_ULP + LEAST)).sum().detach())
        self.seen.append((float(cached), float(own.detach()), bound))


@pytest.mark.parametrize(
    ("section", "term"),
    [
        (DistilSection(loss="erde"), KD(3.0)),
        (DistilSection(loss="kd"), KD(1.0)),
        (DistilSection(loss="dkd"), DKD(3.0, 1.0, 8.0)),
        (DistilSection(loss="ea-kd"), KD(3.0)),
    ],
)
def test_every_step_of_a_training_has_the_loss_of_a_live_teacher_to_fp16_rounding(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    teacher: Teacher,
    section: DistilSection,
    term: KD | DKD,
) -> None:
    """The most that rounding may cost: the slope of the loss in each teacher logit times half a unit in the last place
    of that logit, the first-order bound; half of it again is room for the second order and fp32 sums."""
    views = make_views(crop_padding=1, flip=True)
    network = make_network()
    assert isinstance(teacher.network, EarlyExitNetwork)
    objective = Compared(section, term, teacher.network)
    order = [chosen for epoch in range(3) for chosen in views.order(epoch).split(16)]
    numbers = iter(range(18))

    class Recorded(Objective):
        def forward(self, step: Step) -> Tensor:
            number = next(numbers)
            objective.with_images(views.batch(number // 6 % 2, order[number]), step)
            return Objective.forward(self, step)

    targets = Targets(cached_logits(teacher, views, 2), EXITS)
    recorded = Recorded(section, MACS, term)
    train(Training(network, views, recorded, OPTIONS, targets=targets, seed=0, compute=Compute("fp32", 1, 0.0)))
    assert len(objective.seen) == 18
    for cached, live, bound in objective.seen:
        assert abs(cached - live) <= 1.5 * bound + 1e-6 * abs(live)
        assert bound < 0.01 * abs(live)  # the bound says something
    assert any(cached != live for cached, live, _ in objective.seen)
