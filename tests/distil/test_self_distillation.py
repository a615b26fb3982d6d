"""Self-distillation against scipy in a loop, where its gradient goes, and inside the objective."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from erde_nas.distil.losses import cross_entropy, kd_loss
from erde_nas.distil.objective import Objective
from erde_nas.distil.self_distillation import self_distillation
from erde_nas.distil.step import Step
from erde_nas.distil.terms.kd import KD
from erde_nas.recipe.distil import DistilSection

EXITS, BATCH, CLASSES = 4, 6, 5
LOGITS = 3 * np.random.default_rng(5).normal(size=(EXITS, BATCH, CLASSES))
KINDS = ["last", "ensemble"]


def target(kind: str, logits: np.ndarray) -> np.ndarray:
    """(batch, classes)."""
    return logits[-1] if kind == "last" else sum(logits) / len(logits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_against_scipy_in_a_loop(kind: str, temperature: float) -> None:
    teacher = softmax(target(kind, LOGITS) / temperature, -1)
    expected = np.zeros(EXITS)
    for exit_ in range(EXITS):
        for t, s in zip(teacher, LOGITS[exit_], strict=True):
            expected[exit_] += temperature**2 * rel_entr(t, softmax(s / temperature)).sum() / BATCH
    got = self_distillation(torch.from_numpy(LOGITS), kind, temperature)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_the_last_exit_teaches_and_is_not_taught() -> None:
    logits = torch.from_numpy(LOGITS).requires_grad_()
    loss = self_distillation(logits, "last", 3.0)
    assert loss[-1] == 0
    loss.sum().backward()
    assert logits.grad is not None
    assert not logits.grad[-1].any()
    expected = 3 * (softmax(LOGITS[:-1] / 3, -1) - softmax(LOGITS[-1] / 3, -1)) / BATCH
    np.testing.assert_allclose(logits.grad[:-1], expected, atol=1e-12)


def test_the_ensemble_teaches_every_exit_and_is_a_constant() -> None:
    """The gradient is T (softmax(exit/T) - softmax(mean/T)) / batch, and an exit's loss moves no other exit.

    Weighted differently, because in the plain sum over exits what would flow through the mean cancels out.
    """
    logits = torch.from_numpy(LOGITS).requires_grad_()
    share = np.array([1.0, 0.0, 2.0, 5.0])
    (self_distillation(logits, "ensemble", 3.0) * torch.from_numpy(share)).sum().backward()
    expected = share[:, None, None] * 3 * (softmax(LOGITS / 3, -1) - softmax(LOGITS.mean(0) / 3, -1)) / BATCH
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_exits_that_agree_have_nothing_to_learn(kind: str) -> None:
    same = torch.from_numpy(LOGITS[:1]).expand(EXITS, -1, -1)
    assert self_distillation(same, kind, 3.0).abs().max() < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_one_exit_has_no_self_distillation(kind: str) -> None:
    logits = torch.from_numpy(LOGITS[:1]).requires_grad_()
    loss = self_distillation(logits, kind, 3.0)
    assert loss.tolist() == [pytest.approx(0, abs=1e-14)]
    assert torch.autograd.grad(loss.sum() + 0 * logits.sum(), logits)[0].abs().max() < 1e-14


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [50.0, 6e4])
def test_extreme_logits_stay_finite(kind: str, scale: float) -> None:
    logits = torch.from_numpy(scale * np.sign(LOGITS)).float().requires_grad_()
    loss = self_distillation(logits, kind, 3.0)
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("loss", "kind"), [("self-last", "last"), ("self", "ensemble")])
def test_the_objective_adds_it_with_its_weight_with_or_without_a_teacher(loss: str, kind: str) -> None:
    student, labels = torch.from_numpy(LOGITS), torch.arange(BATCH) % CLASSES
    teacher = student.flip(0)
    plain = cross_entropy(student, labels.expand(EXITS, -1)).mean(-1)
    own = 0.7 * self_distillation(student, kind, 2.0)
    alone = DistilSection.model_validate({"loss": loss, "temperature": 2.0, "self_weight": 0.7})
    for step in (Step(student, labels), Step(student, labels, teacher)):
        torch.testing.assert_close(Objective(alone, [1.0] * EXITS)(step), (plain + own).mean(), check_dtype=False)
    beside = DistilSection.model_validate(
        {"loss": "kd", "self_distillation": kind, "temperature": 2.0, "self_weight": 0.7, "kd_weight": 0.3}
    )
    taught = 0.3 * kd_loss(student, teacher, 2.0).mean(-1)
    got = Objective(beside, [1.0] * EXITS, KD(2.0))(Step(student, labels, teacher))
    torch.testing.assert_close(got, (plain + own + taught).mean(), check_dtype=False)
