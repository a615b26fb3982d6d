"""ReviewKD and FCFD in real trainings; which hint points meet; what a teacher without features is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step, Term
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.terms.fcfd import FCFD
from erde_nas.distil.terms.hints import match_hints, mean_per_exit, relative_depths
from erde_nas.distil.terms.make import make_term
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Training, train
from erde_nas.errors import UserError
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.gradient_flow import GradientFlow
from erde_nas.networks.models import MODELS, model_arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.registry import FAMILIES

NAMES = ("reviewkd", "fcfd")
OPTIONS = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.1)


def arch(depths: Sequence[int], exits: Sequence[int], *, family: str = "resnet", width: int = 8) -> Arch:
    return make_arch(
        family,
        image_shape=(1, 8, 8),
        classes=3,
        stem=8,
        stages=[StageChoice(depth, width * (i + 1), 3, 2) for i, depth in enumerate(depths)],
        exits=[Exit(block, "gap") for block in exits],
    )


def network(shape: Arch, seed: int = 0) -> EarlyExitNetwork:
    torch.manual_seed(seed)
    return EarlyExitNetwork(shape, [0.3], [0.2])


def teacher(depths: Sequence[int] = (2, 2, 2), exits: Sequence[int] = (1, 3, 5)) -> Teacher:
    return Teacher(network(arch(depths, exits, width=16), seed=1).eval(), "key", False)


def term(name: str, student: EarlyExitNetwork, of: Teacher, **keys: Any) -> Term:
    made = make_term(DistilSection.model_validate({"loss": name, **keys}), student, of.early_exit)
    assert made is not None
    return made


STUDENTS = {
    "one exit": arch((1, 1, 1), (2,)),
    "exits where the teacher has none": arch((2, 2, 1), (0, 2, 4)),
    "one resolution": arch((3,), (0, 2)),
    "more resolutions": arch((1, 1, 1, 1), (1, 3)),
    "other family": arch((2, 1), (1, 2), family="mobilenet"),
}


TRAINED = ("one exit", "exits where the teacher has none", "other family")


def test_relative_depths_by_hand() -> None:
    assert relative_depths(arch((2, 1), (2,))) == [0.25, 0.5, 1.0]
    assert relative_depths(arch((4,), (3,))) == [0.25, 0.5, 0.75, 1.0]
    assert relative_depths(arch((1, 2, 1), (3,))) == pytest.approx([1 / 3, 1 / 2, 2 / 3, 1])


@pytest.mark.parametrize(
    ("depths", "others", "ends"),
    [((1, 1, 1), (5, 5, 5), (4, 9, 14)), ((1, 4, 2), (3, 1, 1), (2, 3, 4)), ((2, 2), (1, 6), (0, 6))],
)
def test_equal_numbers_of_resolutions_meet_end_to_end_however_deep_they_are(
    depths: tuple[int, ...], others: tuple[int, ...], ends: tuple[int, ...]
) -> None:
    hints = match_hints(arch(depths, (sum(depths) - 1,)), arch(others, (sum(others) - 1,)))
    assert hints.blocks == tuple(sum(depths[: i + 1]) - 1 for i in range(len(depths)))
    assert hints.teacher_blocks == ends
    assert set(hints.exits) == {0}


@pytest.mark.parametrize(
    ("student", "other", "widths"),
    [
        ("resnet8x4", "resnet32x4", [(64, 64), (128, 128), (256, 256)]),
        ("shufflenetv2", "resnet32x4", [(116, 64), (232, 128), (464, 256)]),
        ("wrn-16-2", "wrn-40-2", [(32, 32), (64, 64), (128, 128)]),
        ("vgg8", "vgg13", [(128, 128), (256, 256), (512, 512), (512, 512)]),
        ("mobilenetv2", "vgg13", [(12, 128), (16, 256), (48, 512), (160, 512)]),
        ("mobilenetv2", "resnet50", [(12, 256), (16, 512), (48, 1024), (160, 2048)]),
    ],
)
def test_the_literature_s_pairs_meet_stage_by_stage(student: str, other: str, widths: list[tuple[int, int]]) -> None:
    """Channels of the compared features, one level for each published stage: those of ReviewKD's published code."""
    shapes = [
        model_arch(MODELS[name], image_shape=(3, 32, 32), classes=100, early=(), head="gap")
        for name in (student, other)
    ]
    hints = match_hints(*shapes)
    met = zip(hints.blocks, hints.teacher_blocks, strict=True)
    assert [(shapes[0].blocks[mine].width, shapes[1].blocks[theirs].width) for mine, theirs in met] == widths


@pytest.mark.parametrize("student", STUDENTS.values(), ids=STUDENTS)
@pytest.mark.parametrize("other", [arch((2, 2, 2), (1, 3, 5)), arch((3, 1), (0, 3)), arch((1,), (0,))])
def test_each_hint_point_meets_the_nearest_that_is_not_shallower(student: Arch, other: Arch) -> None:
    """By brute force over all of the teacher's; each belongs to the first exit at or behind it."""
    hints = match_hints(student, other)
    mine, theirs = relative_depths(student), relative_depths(other)
    for block, exit_, j, end in zip(hints.blocks, hints.exits, hints.teacher, hints.teacher_blocks, strict=True):
        candidates = network(other).hint_blocks
        assert candidates[j] == end
        deep = [c for c in candidates if theirs[c] >= mine[block] - 1e-9]
        assert end == min(deep, key=lambda c: theirs[c] - mine[block])
        behind = [number for number, e in enumerate(student.exits) if e.block >= block]
        assert exit_ == behind[0]


def test_losses_add_up_for_their_exit() -> None:
    weight = torch.tensor([[1.0, 3.0], [0.5, 0.0], [1.0, 1.0]])
    losses = [(0, torch.tensor([1.0, 2.0])), (1, torch.tensor([4.0, 9.0])), (0, torch.tensor([1.0, 0.0]))]
    assert mean_per_exit(losses, weight).tolist() == [(1 * 2 + 3 * 2) / 2, 4 * 0.5 / 2, 0.0]


class Noted(nn.Module):
    """A term whose value at every step is kept."""

    def __init__(self, term: Term) -> None:
        super().__init__()
        self.term, self.needs_features, self.values = term, term.needs_features, []

    def forward(self, step: Step, weight: Tensor) -> Tensor:
        value = self.term(step, weight)
        self.values.append(float(value.detach().sum()))
        return value


def distil(
    name: str,
    student: EarlyExitNetwork,
    views: Views,
    precision: str = "fp32",
    options: OptimizerSection = OPTIONS,
    **keys: Any,
) -> list[float]:
    """Train with the teacher's logits of the plain images; returns the term's value at every step."""
    of, count = teacher(), len(student.arch.exits)
    section = DistilSection.model_validate({"loss": name, **keys})
    noted = Noted(term(name, student, of, **keys))
    objective = Objective(section, [1.0 + i for i in range(count)], noted)  # type: ignore[arg-type]
    assert of.early_exit is not None
    with torch.no_grad():
        logits = torch.stack(of.network(views.images), 1)[None].half()
    before = [tensor.clone() for tensor in of.network.state_dict().values()]
    targets = Targets(logits, tuple(range(3 - count, 3)), of.early_exit)
    last = train(
        Training(student, views, objective, options, targets=targets, seed=0, compute=Compute(precision, 1, 0.0))
    )
    assert torch.isfinite(torch.tensor(last))
    assert all(torch.equal(a, b) for a, b in zip(before, of.network.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in of.network.parameters())
    return noted.values


@pytest.mark.parametrize("student", [STUDENTS[key] for key in TRAINED], ids=TRAINED)
@pytest.mark.parametrize("name", NAMES)
def test_training_brings_the_features_nearer(name: str, student: Arch, make_views: Callable[..., Views]) -> None:
    """Three epochs of six steps; the weight of the features has risen after the first two of 18 steps."""
    values = distil(name, network(student), make_views())
    assert len(values) == 18
    assert sum(values[-4:]) < 0.9 * sum(values[2:6])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_training_gives_the_same_values(name: str, make_views: Callable[..., Views]) -> None:
    shape, options = STUDENTS["exits where the teacher has none"], OPTIONS.model_copy(update={"epochs": 1})
    values = []
    for _ in range(2):
        values.append(distil(name, network(shape), make_views(), options=options))
        torch.rand(7)  # what else is drawn meanwhile must not matter
    assert values[0] == values[1]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("name", NAMES)
def test_every_family_can_be_either_side(name: str, family: str) -> None:
    small, large = network(arch((1, 2), (0, 2), family=family)), network(arch((2, 1, 1), (1, 3), family=family))
    images = torch.randint(0, 256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    made = term(name, small, Teacher(large.eval(), "key", False))
    logits, features = small.forward_all(images)
    with torch.no_grad():
        targets, theirs = large.forward_all(images)
    step = Step(torch.stack(logits), torch.zeros(4).long(), torch.stack(targets), 1.0, features, theirs)
    loss = made(step, torch.ones(2, 4))
    assert (loss > 0).all()
    loss.sum().backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", [*NAMES, *(f"ea-{name}" for name in NAMES)])
def test_bf16_and_every_switch_together(name: str, make_views: Callable[..., Views]) -> None:
    keys = {"gradient_rescaling": True, "logit_standardisation": True, "self_distillation": "ensemble"}
    student = network(STUDENTS["exits where the teacher has none"])
    values = distil(name, student, make_views(), "bf16", **keys)
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert sum(values[-4:]) < 0.9 * sum(values[2:6])


@pytest.mark.parametrize("name", NAMES)
def test_connectors_start_the_same_and_leave_the_generator_alone(name: str) -> None:
    student, of = network(STUDENTS["one exit"]), teacher()
    torch.manual_seed(5)
    expected, _ = torch.rand(3), torch.manual_seed(5)
    first = term(name, student, of).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = term(name, student, of).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_the_user_can_be_told_what_no_cache_holds(name: str) -> None:
    made = term(name, network(STUDENTS["one exit"]), teacher())
    assert made.needs_features
    assert "each step also runs the teacher" in made.uncached
    assert "\n" not in made.uncached
    assert term("kd", network(STUDENTS["one exit"]), teacher()).uncached == ""


@pytest.mark.parametrize(("keys", "loss"), [({}, "reviewkd"), ({}, "ea-fcfd"), ({"term": "fcfd"}, "erde")])
def test_a_teacher_without_features_is_named_with_the_loss_and_a_way_out(keys: dict[str, str], loss: str) -> None:
    program = Teacher(nn.Linear(2, 2), "key", False)  # not an early-exit network
    section = DistilSection.model_validate({"loss": loss, **keys})
    with pytest.raises(UserError, match=rf"'{loss}'.*'{section.method.term}'.*\.pt2.*choose a loss on logits"):
        make_term(section, network(STUDENTS["one exit"]), program.early_exit)


@pytest.mark.parametrize(("kind", "expected"), [("matching", (1, 2)), ("last", (2, 2))])
def test_fcfd_reads_the_teacher_exits_that_the_logits_come_from(kind: str, expected: tuple[int, ...]) -> None:
    """Equal stages: the student's first exit, 2 of 3 stages deep, lies at the teacher's second; `last` says so."""
    made = term("fcfd", network(arch((2, 2, 2), (3, 5), width=16)), teacher(), teacher_exits=kind)
    assert isinstance(made, FCFD)
    assert made.exits == expected


def test_fcfd_takes_its_options_from_the_recipe() -> None:
    keys = {"temperature": 4.0, "gradient_rescaling": True, "logit_standardisation": True, "head_gradient": 0.5}
    made = term("fcfd", network(STUDENTS["one exit"]), teacher(), **keys)
    assert isinstance(made, FCFD)
    plain = term("fcfd", network(STUDENTS["one exit"]), teacher())
    assert isinstance(plain, FCFD)
    expected = replace(plain.options, temperature=4.0, flow=GradientFlow(True, 0.5), standardised=True)
    assert made.options == expected
    assert plain.options.temperature == 3.0
