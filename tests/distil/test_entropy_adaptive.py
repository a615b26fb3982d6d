"""EA-KD's weight at its ends, against numpy, and inside ERDE."""

from math import log

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.distil.losses import cross_entropy, erde_terms, kd_loss

GENERATOR = np.random.default_rng(0)
STUDENT, TEACHER = 4 * GENERATOR.normal(size=(2, 2, 30, 7)).astype(np.float32)  # (exits, batch, classes)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_uniform_teacher_and_student_give_log_c(classes: int) -> None:
    uniform = torch.zeros(3, classes)
    assert entropy_adaptive_weight(uniform, uniform).tolist() == pytest.approx([log(classes)] * 3, rel=1e-6)


def test_a_certain_teacher_gives_nothing_and_a_certain_student_half_of_the_teachers_entropy() -> None:
    certain, uniform = torch.tensor([[1e3, 0.0, 0.0, 0.0]]), torch.zeros(1, 4)
    assert entropy_adaptive_weight(uniform, certain).item() == pytest.approx(0, abs=1e-6)
    assert entropy_adaptive_weight(certain, uniform).item() == pytest.approx(log(4) / 2, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_against_scipy(temperature: float) -> None:
    teacher = scipy_entropy(softmax(TEACHER.astype(float) / temperature, -1), axis=-1)
    student = scipy_entropy(softmax(STUDENT.astype(float) / temperature, -1), axis=-1)
    got = entropy_adaptive_weight(torch.from_numpy(STUDENT), torch.from_numpy(TEACHER), temperature)
    assert got.shape == (2, 30)
    np.testing.assert_allclose(got, 0.5 * teacher * (1 + student / log(7)), rtol=1e-5)


def test_the_temperature_is_three_unless_told() -> None:
    student, teacher = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    assert torch.equal(entropy_adaptive_weight(student, teacher), entropy_adaptive_weight(student, teacher, 3.0))


def test_no_gradient_flows_through_the_weight() -> None:
    student, teacher = torch.from_numpy(STUDENT[0]).requires_grad_(), torch.from_numpy(TEACHER[0])
    weight = entropy_adaptive_weight(student, teacher)
    assert not weight.requires_grad
    labels = teacher.argmax(-1)
    settings = {"temperature": 3.0, "kd_weight": 0.7, "entropy_weight": 0.4}
    loss = erde_terms(student, teacher, labels, entropy_adaptive=True, **settings)
    torch.testing.assert_close(loss, cross_entropy(student, labels) + 0.7 * weight * kd_loss(student, teacher, 3.0))
    # The weight is a constant: the gradient is the weighted sum of the two gradients.
    kd = torch.autograd.grad((weight * kd_loss(student, teacher, 3.0)).sum(), student)[0]
    ce = torch.autograd.grad(cross_entropy(student, labels).sum(), student)[0]
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), student)[0], ce + 0.7 * kd)


def test_the_entropy_term_is_not_weighted() -> None:
    student, teacher = torch.from_numpy(STUDENT[0]), torch.from_numpy(TEACHER[0])
    labels = (teacher.argmax(-1) + 1) % 7
    settings = {"temperature": 3.0, "kd_weight": 0.7, "entropy_weight": 0.4}
    weighted = erde_terms(student, teacher, labels, entropy_adaptive=True, **settings)
    assert torch.equal(weighted, erde_terms(student, teacher, labels, **settings))
