"""EA-KD's weight at its ends, against scipy, and inside the objective."""

from math import log

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.distil.losses import cross_entropy, kd_loss
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.terms.kd import KD
from erde_nas.recipe.distil import DistilSection

GENERATOR = np.random.default_rng(0)
STUDENT, TEACHER = 4 * GENERATOR.normal(size=(2, 2, 30, 7)).astype(np.float32)  # (exits, batch, classes)


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


@pytest.mark.parametrize("classes", [3, 100])
def test_the_papers_limits(classes: int) -> None:
    """Eq. 13a: both uncertain, log C. 13b: only the teacher, half of it. 13c: a certain teacher, 0 whatever else."""
    certain, uncertain = 1e4 * torch.eye(classes)[:1], 1e-4 * torch.eye(classes)[:1]
    assert entropy_adaptive_weight(uncertain, uncertain).item() == pytest.approx(log(classes), rel=1e-5)
    assert entropy_adaptive_weight(certain, uncertain).item() == pytest.approx(log(classes) / 2, rel=1e-5)
    for student in (certain, uncertain, torch.arange(classes).float()[None]):
        assert entropy_adaptive_weight(student, certain).item() == 0


def test_it_is_the_mean_of_the_base_and_the_interaction_term() -> None:
    """Eq. 9-11; and it never leaves [0, log C]."""
    teacher = scipy_entropy(softmax(TEACHER / 3, -1), axis=-1)
    student = scipy_entropy(softmax(STUDENT / 3, -1), axis=-1)
    got = entropy_adaptive_weight(torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)).numpy()
    np.testing.assert_allclose(got, (teacher + teacher * student / log(7)) / 2, rtol=1e-5)
    assert (got >= 0).all()
    assert (got <= log(7)).all()
    assert (got >= teacher / 2 - 1e-6).all()
    assert (got <= teacher + 1e-6).all()


def objective(loss: str, **changes: object) -> Objective:
    section = DistilSection.model_validate({"loss": loss, "kd_weight": 0.7, "entropy_weight": 0.4} | changes)
    return Objective(section, [1.0, 2.0], KD(section.temperature))


def test_no_gradient_flows_through_the_weight() -> None:
    student, teacher = torch.from_numpy(STUDENT).requires_grad_(), torch.from_numpy(TEACHER)
    weight = entropy_adaptive_weight(student, teacher)
    assert not weight.requires_grad
    labels = teacher[0].argmax(-1)
    got = objective("ea-kd")(Step(student, labels, teacher))
    taught = 0.7 * (weight * kd_loss(student, teacher, 3.0)).mean()
    expected = cross_entropy(student, labels.expand(2, -1)).mean() + taught
    torch.testing.assert_close(got, expected)
    # The weight is a constant: d/ds of w T² KL is w T (softmax(s/T) - softmax(t/T)).
    distil = 0.7 * weight.numpy()[..., None] * 3 * (softmax(STUDENT / 3, -1) - softmax(TEACHER / 3, -1))
    hard = softmax(STUDENT, -1) - np.eye(7)[labels.numpy()]
    gradient = torch.autograd.grad(got, student)[0]
    np.testing.assert_allclose(gradient, (hard + distil) / 60, atol=1e-6)


def test_in_erde_it_weights_the_distillation_where_the_teacher_is_right() -> None:
    student, teacher = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    labels = teacher[0].argmax(-1)  # the first exit's teacher is always right, the second's now and then
    right = (teacher.argmax(-1) == labels).float()
    assert 0 < right[1].sum() < 30
    weight = entropy_adaptive_weight(student, teacher)
    without = objective("ea-erde", kd_weight=0.0)(Step(student, labels, teacher))
    taught = 0.7 * (weight * right * kd_loss(student, teacher, 3.0)).mean()
    torch.testing.assert_close(objective("ea-erde")(Step(student, labels, teacher)), without + taught)


def test_the_entropy_term_is_not_weighted() -> None:
    """Where the teacher is always wrong, nothing is left that the weight could change."""
    student, teacher = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER[:1]).expand(2, -1, -1)
    step = Step(student, (teacher[0].argmax(-1) + 1) % 7, teacher)
    assert torch.equal(objective("ea-erde")(step), objective("erde")(step))
