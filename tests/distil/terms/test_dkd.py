"""DKD against probabilities in a loop, against KD through the paper's identity, and at its limits."""

from math import log

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, rel_entr, softmax

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.step import Step
from erde_nas.distil.terms.dkd import DKD, dkd_loss
from erde_nas.recipe.distil import DistilSection

EXITS, BATCH, CLASSES = 2, 9, 6
GENERATOR = np.random.default_rng(1)
STUDENT, TEACHER = 3 * GENERATOR.normal(size=(2, EXITS, BATCH, CLASSES))
LABELS = GENERATOR.integers(0, CLASSES, BATCH)


def dkd(
    student: np.ndarray, teacher: np.ndarray, temperature: float, alpha: float, beta: float, labels: np.ndarray = LABELS
) -> np.ndarray:
    """(exits, batch)."""
    return dkd_loss(
        torch.from_numpy(student),
        torch.from_numpy(teacher),
        torch.from_numpy(labels).expand(student.shape[:-1]),
        temperature=temperature,
        alpha=alpha,
        beta=beta,
    ).numpy()


def parts(student: np.ndarray, teacher: np.ndarray, label: int, temperature: float) -> tuple[float, float, float]:
    """TCKD and NCKD of one sample, and the teacher's probability of the label, from probabilities."""
    p, q = softmax(student / temperature), softmax(teacher / temperature)
    target = rel_entr([q[label], 1 - q[label]], [p[label], 1 - p[label]]).sum()
    others_p, others_q = np.delete(p, label), np.delete(q, label)
    return target, rel_entr(others_q / others_q.sum(), others_p / others_p.sum()).sum(), q[label]


def without_label(logits: np.ndarray) -> np.ndarray:
    """(exits, batch, classes) -> (exits, batch, classes - 1)."""
    return np.array([[np.delete(row, y) for row, y in zip(rows, LABELS, strict=True)] for rows in logits])


@pytest.mark.parametrize(("temperature", "alpha", "beta"), [(1.0, 1.0, 1.0), (4.0, 1.0, 8.0), (2.0, 0.5, 0.0)])
def test_against_probabilities_in_a_loop(temperature: float, alpha: float, beta: float) -> None:
    got = dkd(STUDENT, TEACHER, temperature, alpha, beta)
    for exit_ in range(EXITS):
        for number, label in enumerate(LABELS):
            target, others, _ = parts(STUDENT[exit_, number], TEACHER[exit_, number], label, temperature)
            expected = temperature**2 * (alpha * target + beta * others)
            assert got[exit_, number] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_with_nckd_weighted_by_one_less_the_teachers_p_it_is_kd(temperature: float) -> None:
    rest = 1 - softmax(TEACHER / temperature, -1)[:, np.arange(BATCH), LABELS]
    target, others = dkd(STUDENT, TEACHER, temperature, 1.0, 0.0), dkd(STUDENT, TEACHER, temperature, 0.0, 1.0)
    expected = kd_loss(torch.from_numpy(STUDENT), torch.from_numpy(TEACHER), temperature)
    np.testing.assert_allclose(target + rest * others, expected, rtol=1e-8)


def test_a_uniform_teacher_by_hand() -> None:
    """TCKD = KL of (1/C, 1 - 1/C) against the student's; NCKD = log-sum-exp less mean less log(C - 1) of the others."""
    p = softmax(STUDENT, -1)[:, np.arange(BATCH), LABELS]
    target = -(log(CLASSES) + np.log(p)) / CLASSES + (1 - 1 / CLASSES) * (log(1 - 1 / CLASSES) - np.log(1 - p))
    others = without_label(STUDENT)
    rest = logsumexp(others, -1) - others.mean(-1) - log(CLASSES - 1)
    np.testing.assert_allclose(dkd(STUDENT, 0 * TEACHER, 1.0, 1.0, 0.0), target, rtol=1e-8)
    np.testing.assert_allclose(dkd(STUDENT, 0 * TEACHER, 1.0, 0.0, 1.0), rest, rtol=1e-8)


def test_nckd_is_blind_to_the_labels_logit_and_tckd_to_how_the_others_share() -> None:
    moved = STUDENT.copy()
    moved[:, np.arange(BATCH), LABELS] += 5.0
    np.testing.assert_allclose(dkd(moved, TEACHER, 2.0, 0.0, 1.0), dkd(STUDENT, TEACHER, 2.0, 0.0, 1.0), rtol=1e-9)
    turned = STUDENT.copy()
    for number, label in enumerate(LABELS):
        others = np.delete(np.arange(CLASSES), label)
        turned[:, number, others] = STUDENT[:, number, others[::-1]]
    np.testing.assert_allclose(dkd(turned, TEACHER, 2.0, 1.0, 0.0), dkd(STUDENT, TEACHER, 2.0, 1.0, 0.0), rtol=1e-9)


def test_at_high_temperature_nckd_is_half_the_squared_difference_among_the_others() -> None:
    difference = without_label(STUDENT - TEACHER)
    centred = difference - difference.mean(-1, keepdims=True)
    expected = (centred**2).sum(-1) / (2 * (CLASSES - 1))
    np.testing.assert_allclose(dkd(STUDENT, TEACHER, 1e5, 0.0, 1.0), expected, rtol=2e-3)


def test_two_classes_have_no_nckd() -> None:
    student, teacher, labels = STUDENT[..., :2], TEACHER[..., :2], LABELS % 2
    assert not dkd(student, teacher, 2.0, 0.0, 1.0, labels).any()
    expected = kd_loss(torch.from_numpy(student.copy()), torch.from_numpy(teacher.copy()), 2.0)
    np.testing.assert_allclose(dkd(student, teacher, 2.0, 1.0, 8.0, labels), expected, rtol=1e-8)


@pytest.mark.parametrize("margin", [30.0, 200.0])
def test_a_teacher_whose_label_rounds_to_one_still_teaches_the_others(margin: float) -> None:
    """The probabilities of the others vanish in float32; NCKD must not vanish with them."""
    student = torch.tensor([[margin, 1.0, 0.0]], requires_grad=True)
    teacher, label = torch.tensor([[margin, 0.0, 1.0]]), torch.tensor([0])
    loss = dkd_loss(student, teacher, label, temperature=1.0, alpha=0.0, beta=1.0)
    p = 1 / (1 + np.exp(-1.0))
    assert loss.item() == pytest.approx((2 * p - 1) * log(p / (1 - p)), rel=1e-5)  # KL of (1-p, p) against (p, 1-p)
    loss.backward()
    assert student.grad is not None
    np.testing.assert_allclose(student.grad, [[0.0, 2 * p - 1, 1 - 2 * p]], rtol=1e-5)


def test_alpha_and_beta_come_from_the_recipe() -> None:
    section = DistilSection(loss="dkd", dkd_alpha=0.7, dkd_beta=3.0)
    step = Step(torch.from_numpy(STUDENT), torch.from_numpy(LABELS), torch.from_numpy(TEACHER))
    got = DKD(section.temperature, section.dkd_alpha, section.dkd_beta)(step, torch.ones(EXITS, BATCH))
    np.testing.assert_allclose(got, dkd(STUDENT, TEACHER, 3.0, 0.7, 3.0).mean(-1), rtol=1e-9)
