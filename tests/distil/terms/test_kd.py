"""KD as a term: against scipy, for a uniform teacher, at high temperature, and its weights."""

from math import log

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, rel_entr, softmax

from erde_nas.distil.step import Step
from erde_nas.distil.terms.kd import KD

EXITS, BATCH, CLASSES = 3, 8, 5
GENERATOR = np.random.default_rng(0)
STUDENT, TEACHER = 3 * GENERATOR.normal(size=(2, EXITS, BATCH, CLASSES))
WEIGHT = GENERATOR.uniform(0, 2, (EXITS, BATCH))


def kd(student: np.ndarray, teacher: np.ndarray, weight: np.ndarray, temperature: float) -> np.ndarray:
    step = Step(torch.from_numpy(student), torch.zeros(BATCH, dtype=torch.long), torch.from_numpy(teacher))
    return KD(temperature)(step, torch.from_numpy(weight)).numpy()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_against_scipy_in_a_loop(temperature: float) -> None:
    expected = np.zeros(EXITS)
    for exit_ in range(EXITS):
        for w, s, t in zip(WEIGHT[exit_], STUDENT[exit_], TEACHER[exit_], strict=True):
            divergence = rel_entr(softmax(t / temperature), softmax(s / temperature)).sum()
            expected[exit_] += w * temperature**2 * divergence / BATCH
    np.testing.assert_allclose(kd(STUDENT, TEACHER, WEIGHT, temperature), expected, rtol=1e-9)


def test_a_uniform_teacher_leaves_log_sum_exp_less_mean_less_log_c() -> None:
    scaled = STUDENT / 2.0
    expected = 4 * (logsumexp(scaled, -1) - scaled.mean(-1) - log(CLASSES)).mean(-1)
    np.testing.assert_allclose(kd(STUDENT, 0 * TEACHER, np.ones((EXITS, BATCH)), 2.0), expected, rtol=1e-9)


def test_at_high_temperature_it_is_half_the_squared_difference_of_centred_logits_per_class() -> None:
    difference = STUDENT - TEACHER
    expected = (difference - difference.mean(-1, keepdims=True)) ** 2
    got = kd(STUDENT, TEACHER, WEIGHT, 1e5)
    np.testing.assert_allclose(got, (WEIGHT * expected.sum(-1) / (2 * CLASSES)).mean(-1), rtol=1e-3)
