"""LS: the Z-score against numpy, the properties that the paper proves, and equal logits."""

import numpy as np
import pytest
import torch

from erde_nas.distil.logit_standardisation import standardise
from erde_nas.distil.losses import kd_loss

LOGITS = 5 * np.random.default_rng(4).normal(size=(2, 30, 10))


def test_against_numpy_with_the_deviation_over_all_classes() -> None:
    expected = (LOGITS - LOGITS.mean(-1, keepdims=True)) / LOGITS.std(-1, ddof=0, keepdims=True)
    np.testing.assert_allclose(standardise(torch.from_numpy(LOGITS)), expected, rtol=1e-8)


def test_two_classes_become_plus_and_minus_one() -> None:
    assert standardise(torch.tensor([[7.0, 1.0], [-2.0, -1.0]])).tolist() == [
        pytest.approx([1.0, -1.0], rel=1e-6),
        pytest.approx([-1.0, 1.0], rel=1e-6),
    ]


def test_shift_and_scale_are_forgotten_and_the_order_is_kept() -> None:
    logits = torch.from_numpy(LOGITS)
    torch.testing.assert_close(standardise(3 * logits + 8), standardise(logits), rtol=1e-6, atol=1e-6)
    assert torch.equal(standardise(logits).argsort(-1), logits.argsort(-1))


def test_the_bound_of_the_paper_is_reached_by_a_single_peak() -> None:
    """|Z| is at most √(C - 1), where one logit stands out and the others are equal."""
    bound = 3.0  # √(10 - 1)
    assert standardise(torch.from_numpy(LOGITS)).abs().max() < bound
    assert standardise(torch.eye(10, dtype=torch.float64)[:1] * 9).max() == pytest.approx(bound, rel=1e-6)


def test_students_that_are_scaled_teachers_have_nothing_left_to_learn() -> None:
    teacher = torch.from_numpy(LOGITS)
    student = (0.2 * teacher - 1).requires_grad_()
    loss = kd_loss(standardise(student), standardise(teacher), 2.0)
    assert loss.abs().max() < 1e-10
    assert torch.autograd.grad(loss.sum(), student)[0].abs().max() < 1e-5


def test_gradcheck() -> None:
    logits = torch.from_numpy(LOGITS[:, :3]).requires_grad_()
    assert torch.autograd.gradcheck(standardise, (logits,))


@pytest.mark.parametrize("value", [0.0, 3.0, -6e4])
def test_equal_logits_stay_finite_with_a_finite_gradient(value: float) -> None:
    logits = torch.full((2, 10), value, requires_grad=True)
    loss = kd_loss(standardise(logits), standardise(torch.from_numpy(LOGITS[0, :2]).float()), 2.0).sum()
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("scale", [1e-2, 1.0, 6e4])
def test_the_floor_under_the_root_is_not_felt(scale: float) -> None:
    logits = torch.from_numpy(scale * LOGITS).float()
    assert standardise(logits).var(-1, unbiased=False).numpy() == pytest.approx(1, abs=1e-4)
