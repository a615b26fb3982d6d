"""What every distillation term that needs logits alone must do, whatever its formula."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.distil.logit_standardisation import standardise
from erde_nas.distil.losses import cross_entropy
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Plain, Step, Term
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.terms.make import make_term
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.registry import TERMS

EXITS, BATCH, CLASSES = 2, 10, 6
NEED_FEATURES = {"reviewkd", "fcfd"}
RELATIONAL = {"mld"}  # terms that compare samples with one another: not a sum over the samples


@pytest.fixture(params=sorted(set(TERMS) - NEED_FEATURES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def term(name: str, make_network: Callable[..., EarlyExitNetwork]) -> Term:
    section = DistilSection.model_validate({"loss": "kd", "term": name})
    made = make_term(section, make_network(classes=CLASSES), make_network(classes=CLASSES))
    assert made is not None
    assert not made.needs_features
    return made


def draw(scale: float = 3.0, dtype: torch.dtype = torch.float32) -> Step:
    generator = torch.Generator().manual_seed(0)
    student, teacher = scale * torch.randn(2, EXITS, BATCH, CLASSES, generator=generator)
    labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    return Step(student.to(dtype).requires_grad_(), labels, teacher.to(dtype), done=0.5)


def draw_weight() -> Tensor:
    return torch.rand(EXITS, BATCH, generator=torch.Generator().manual_seed(1)) + 0.1


def student_gradient(loss: Tensor, step: Step) -> Tensor:
    return torch.autograd.grad(loss.sum(), step.student)[0]


def test_one_value_per_exit(term: Term) -> None:
    step, weight = draw(), draw_weight()
    loss = term(step, weight)
    assert loss.shape == (EXITS,)
    assert loss.dtype == torch.float32
    assert (loss > 0).all()
    assert not weight.requires_grad


def test_the_weights_scale_the_loss(term: Term) -> None:
    step, weight = draw(), draw_weight()
    torch.testing.assert_close(term(step, 3 * weight), 3 * term(step, weight))


def test_a_sum_over_samples_is_linear_in_the_weights(term: Term, name: str) -> None:
    step, one = draw(), draw_weight()
    other = one.flip(1)
    additive = torch.allclose(term(step, one + other), term(step, one) + term(step, other))
    assert additive == (name not in RELATIONAL)


def test_weights_of_zero_give_zero_and_no_gradient(term: Term) -> None:
    step = draw()
    loss = term(step, torch.zeros(EXITS, BATCH))
    assert not loss.any()
    assert not student_gradient(loss, step).any()


def test_a_sample_of_weight_zero_has_no_influence_and_gets_no_gradient(term: Term) -> None:
    step, weight = draw(), draw_weight()
    weight[:, 3] = 0
    assert step.teacher is not None
    student, teacher, labels = step.student.detach().clone(), step.teacher.clone(), step.labels.clone()
    student[:, 3], teacher[:, 3], labels[3] = 9.0 * torch.eye(CLASSES)[2], 0.0, (labels[3] + 1) % CLASSES
    other = replace(step, student=student.requires_grad_(), teacher=teacher, labels=labels)
    losses = [term(each, weight) for each in (step, other)]
    assert torch.equal(*losses)
    gradients = [student_gradient(loss, each) for loss, each in zip(losses, (step, other), strict=True)]
    assert torch.equal(*gradients)
    assert not gradients[0][:, 3].any()


def test_exits_do_not_see_one_another(term: Term) -> None:
    step, weight = draw(), draw_weight()
    gradient = student_gradient(term(step, weight)[0], step)
    assert gradient[0].any()
    assert not gradient[1:].any()
    changed = step.student.detach().clone()
    changed[1] += torch.randn(BATCH, CLASSES, generator=torch.Generator().manual_seed(2))
    assert torch.equal(term(replace(step, student=changed), weight)[0], term(step, weight)[0])


def test_neither_shifts_nor_the_order_of_classes_and_samples_matter(term: Term) -> None:
    step, weight = draw(dtype=torch.float64), draw_weight().double()
    assert step.teacher is not None
    value = term.double()(step, weight)
    shifted = replace(step, student=step.student + 5, teacher=step.teacher - 2)
    torch.testing.assert_close(term(shifted, weight), value)
    order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(3))
    turned = replace(
        step, student=step.student[..., order], teacher=step.teacher[..., order], labels=order.argsort()[step.labels]
    )
    torch.testing.assert_close(term(turned, weight), value)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(4))
    shuffled = Step(step.student[:, order], step.labels[order], step.teacher[:, order], step.done)
    torch.testing.assert_close(term(shuffled, weight[:, order]), value)


def test_equal_logits_give_zero_and_no_gradient(term: Term) -> None:
    step = draw(dtype=torch.float64)
    same = replace(step, teacher=step.student.detach())
    loss = term.double()(same, draw_weight())
    assert loss.abs().max() < 1e-12
    assert student_gradient(loss, same).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [50.0, 6e4])
def test_extreme_logits_stay_finite(term: Term, scale: float) -> None:
    step = draw()
    assert step.teacher is not None
    extreme = (scale * step.student.detach().sign()).requires_grad_()
    far = replace(step, student=extreme, teacher=scale * step.teacher.sign())
    loss = term(far, draw_weight())
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    for tensor in (extreme, *term.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_gradcheck(term: Term) -> None:
    step, weight = draw(dtype=torch.float64), draw_weight().double()
    term.double()
    assert torch.autograd.gradcheck(lambda student: term(replace(step, student=student), weight), (step.student,))


def test_bf16_logits_turned_to_float_count_as_they_are_in_autocast_or_out_of_it(term: Term) -> None:
    step, weight = draw(), draw_weight()
    rounded = replace(step, student=step.student.detach().bfloat16().float().requires_grad_())
    plain = term(rounded, weight)
    with torch.autocast("cpu", torch.bfloat16):
        loss = term(rounded, weight)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, plain)
    assert torch.isfinite(student_gradient(loss, rounded)).all()
    torch.testing.assert_close(loss, term(step, weight), rtol=0.05, atol=0.0)


def test_fp16_teacher_logits_change_the_loss_by_their_rounding(term: Term) -> None:
    step, weight = draw(), draw_weight()
    assert step.teacher is not None
    cached = replace(step, teacher=step.teacher.half().float())
    torch.testing.assert_close(term(cached, weight), term(step, weight), rtol=2e-3, atol=0.0)


@pytest.mark.parametrize("done", [0.0, 0.02, 0.7])
def test_the_share_of_the_training_may_be_a_tensor(term: Term, done: float) -> None:
    weight = draw_weight()
    slopes = []
    for share in (done, torch.tensor(done)):
        step = replace(draw(), done=share)
        loss = term(step, weight).sum()
        slopes.append(torch.autograd.grad(loss, [step.student, *term.parameters()]))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_is_read_back_from_the_device(name: str, make_network: Callable[..., EarlyExitNetwork]) -> None:
    """Fake tensors have no values: to read one, which a CUDA graph cannot record, raises."""
    network = make_network(classes=CLASSES)
    section = DistilSection.model_validate({"loss": "kd", "term": name})
    with FakeTensorMode():
        step = replace(draw(), done=torch.tensor(0.5))
        term = TERMS[name].make(section, network, Teacher(network, "key", False))
        loss = term(step, torch.ones(EXITS, BATCH))
        assert loss.shape == (EXITS,)
        assert student_gradient(loss, step).shape == step.student.shape
        with pytest.raises(DataDependentOutputException):
            loss.sum().item()


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("erde", [False, True])
def test_the_objective_gives_it_the_entropy_adaptive_weight_of_the_raw_logits(
    term: Term, name: str, standardised: bool, erde: bool
) -> None:
    keys = {"loss": "erde" if erde else "kd", "term": name, "entropy_weight": 0.0}
    section = DistilSection.model_validate(
        keys | {"kd_weight": 0.4, "entropy_adaptive": True, "logit_standardisation": standardised}
    )
    step = draw()
    assert step.teacher is not None
    weight = entropy_adaptive_weight(step.student, step.teacher)
    mask = (step.teacher.argmax(-1) == step.labels).float() if erde else torch.ones_like(weight)
    weight = weight * mask
    seen = replace(step, student=standardise(step.student), teacher=standardise(step.teacher)) if standardised else step
    seen = replace(seen, plain=Plain(step.student, step.teacher, mask))
    expected = cross_entropy(step.student, step.labels.expand(EXITS, -1)).mean(-1) + 0.4 * term(seen, weight)
    got = Objective(section, [1.0, 2.0], term)(step)
    torch.testing.assert_close(got, expected.mean())
    # The weight is a constant: no gradient through it.
    torch.testing.assert_close(student_gradient(got, step), student_gradient(expected.mean(), step))
