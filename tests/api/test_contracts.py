"""What others rely on by name: the losses and the front maths, against closed forms and brute force."""

from itertools import product

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from erde_nas.distil import entropy_adaptive
from erde_nas.distil.losses import entropy_adaptive_weight, erde_loss, kd_loss
from erde_nas.pareto import non_dominated

S = np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0]])
T = np.array([[3.0, 0.0, -2.0], [1.0, 0.0, 2.0], [2.0, 1.0, 0.0]])  # right, right, wrong
LABELS = np.array([0, 2, 1])


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor(S, requires_grad=True), torch.tensor(T), torch.tensor(LABELS)


def kd(temperature: float) -> np.ndarray:
    """T² · KL of the softened answers, by scipy: (batch,)."""
    return temperature**2 * entropy(softmax(T / temperature, axis=1), softmax(S / temperature, axis=1), axis=1)


def test_kd_loss_is_hintons():
    student, teacher, _ = tensors()
    found = kd_loss(student, teacher, 4.0)
    assert found.shape == (3,)
    np.testing.assert_allclose(found.detach().numpy(), kd(4.0), rtol=1e-6)


def test_erde_loss_is_the_formula():
    student, teacher, labels = tensors()
    found = erde_loss(student, teacher, labels, temperature=2.0, kd_weight=0.7, entropy_weight=0.3)
    cross_entropy = -log_softmax(S, axis=1)[np.arange(3), LABELS]
    right = np.array([1.0, 1.0, 0.0])
    expected = cross_entropy + 0.7 * right * kd(2.0) - 0.3 * (1 - right) * entropy(softmax(S, axis=1), axis=1)
    assert found.shape == ()
    np.testing.assert_allclose(found.item(), expected.mean(), rtol=1e-6)
    found.backward()
    assert student.grad is not None


def test_entropy_adaptive_weight_is_ea_kds_and_detached():
    student, teacher, _ = tensors()
    found = entropy_adaptive_weight(student, teacher)
    h_t, h_s = (entropy(softmax(x / 3.0, axis=1), axis=1) for x in (T, S))
    assert found.shape == (3,)
    assert not found.requires_grad
    np.testing.assert_allclose(found.numpy(), 0.5 * h_t * (1 + h_s / np.log(3)), rtol=1e-6)
    assert entropy_adaptive.entropy_adaptive_weight is entropy_adaptive_weight


def test_non_dominated_is_brute_force():
    points = np.random.default_rng(0).integers(0, 5, (40, 3))
    mask = non_dominated(points)
    expected = [not any((a <= p).all() and (a < p).any() for a in points) for p in points]
    assert mask.tolist() == expected
    assert mask.dtype == bool
    assert non_dominated(list(product([0, 1], repeat=2))).tolist() == [True, False, False, False]
