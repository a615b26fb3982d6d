"""CTKD: the temperature's range, its reversed gradient against finite differences, its schedule, its training."""

from math import cos, exp, pi

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from erde_nas.distil.losses import kd_loss
from erde_nas.distil.step import Step
from erde_nas.distil.terms.ctkd import CTKD, RISE, reversal

EXITS, BATCH, CLASSES = 3, 8, 5
GENERATOR = np.random.default_rng(2)
STUDENT, TEACHER = 4 * GENERATOR.normal(size=(2, EXITS, BATCH, CLASSES))
WEIGHT = torch.from_numpy(GENERATOR.uniform(0, 2, (EXITS, BATCH)))


def step(done: float | torch.Tensor) -> Step:
    labels = torch.zeros(BATCH, dtype=torch.long)
    return Step(torch.from_numpy(STUDENT), labels, torch.from_numpy(TEACHER), done)


def term(raw: list[float]) -> CTKD:
    made = CTKD(len(raw)).double()
    made.raw.data.copy_(torch.tensor(raw))
    return made


def test_it_starts_as_kd_at_the_authors_temperature() -> None:
    temperature = 1 + 20 / (1 + exp(-1))
    assert temperature == pytest.approx(15.62, abs=0.01)
    expected = (WEIGHT * kd_loss(torch.from_numpy(STUDENT), torch.from_numpy(TEACHER), temperature)).mean(-1)
    torch.testing.assert_close(CTKD(EXITS).double()(step(0.5), WEIGHT), expected)


def test_the_temperature_stays_between_1_and_21() -> None:
    assert term([-1e3, 0.0, 1e3]).temperature(1.0).tolist() == [1.0, 11.0, 21.0]


@pytest.mark.parametrize("done", [0.0, RISE / 4, RISE / 2, RISE, 0.3, 1.0])
def test_the_reversal_rises_as_half_a_cosine(done: float) -> None:
    expected = (1 - cos(pi * min(1, done / RISE))) / 2
    assert reversal(done) == pytest.approx(expected)
    as_tensor = reversal(torch.tensor(done))
    assert isinstance(as_tensor, torch.Tensor)
    assert as_tensor.shape == ()
    assert float(as_tensor) == pytest.approx(expected, abs=1e-6)


def loss_by_scipy(raw: np.ndarray) -> np.ndarray:
    """(exits,)."""
    temperature = (1 + 20 / (1 + np.exp(-raw)))[:, None, None]
    divergence = rel_entr(softmax(TEACHER / temperature, -1), softmax(STUDENT / temperature, -1)).sum(-1)
    return (WEIGHT.numpy() * temperature[..., 0] ** 2 * divergence).mean(-1)


@pytest.mark.parametrize("done", [0.0, RISE / 3, 1.0])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_temperatures_gradient_is_the_reversed_one_times_lambda(done: float, as_tensor: bool) -> None:
    raw = [-2.0, 0.3, 1.0]
    made = term(raw)
    loss = made(step(torch.tensor(done, dtype=torch.float64) if as_tensor else done), WEIGHT)
    np.testing.assert_allclose(loss.detach(), loss_by_scipy(np.array(raw)), rtol=1e-9)  # λ changes no value
    loss.sum().backward()
    h = 1e-5
    slope = (loss_by_scipy(np.array(raw) + h) - loss_by_scipy(np.array(raw) - h)) / (2 * h)
    assert made.raw.grad is not None
    np.testing.assert_allclose(made.raw.grad, -reversal(done) * slope, rtol=1e-6, atol=1e-12)


def test_the_students_gradient_is_not_reversed() -> None:
    student = torch.from_numpy(STUDENT).requires_grad_()
    made = term([0.0, 0.0, 0.0])
    made(Step(student, torch.zeros(BATCH, dtype=torch.long), torch.from_numpy(TEACHER), 1.0), WEIGHT).sum().backward()
    # d/ds of w T² KL is w T (softmax(s/T) - softmax(t/T)), here with T = 11
    expected = WEIGHT.unsqueeze(-1).numpy() * 11 * (softmax(STUDENT / 11, -1) - softmax(TEACHER / 11, -1)) / BATCH
    assert student.grad is not None
    np.testing.assert_allclose(student.grad, expected, atol=1e-10)


def test_the_students_optimizer_drives_the_temperature_against_the_student() -> None:
    made = CTKD(EXITS).double()
    before = made(step(1.0), WEIGHT).detach()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        made(step(1.0), WEIGHT).sum().backward()
        optimizer.step()
    assert (made(step(1.0), WEIGHT) > before).all()
    assert len({round(t, 3) for t in made.temperature(1.0).tolist()}) == EXITS  # each exit has its own


def test_before_the_curriculum_begins_the_temperature_stands_still() -> None:
    made = CTKD(EXITS)
    made(step(0.0), WEIGHT).sum().backward()
    assert made.raw.grad is not None
    assert not made.raw.grad.any()
