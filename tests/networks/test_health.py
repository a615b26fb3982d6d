"""Broken students are found out, sound ones are not."""

import numpy as np
import pytest

from erde_nas.errors import TrainingFailed
from erde_nas.networks.health import check_exits


@pytest.fixture
def logits():
    """Of three exits, 50 images and four classes."""
    return np.random.default_rng(0).normal(0, 2, (3, 50, 4)).astype(np.float32)


def test_a_sound_student_passes(logits):
    check_exits(logits)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(logits, value):
    logits[1, 7, 2] = value
    with pytest.raises(TrainingFailed, match="exit 1 gives values that are not finite"):
        check_exits(logits)


def test_a_head_that_answers_the_same_for_every_image_is_dead(logits):
    logits[2] = 0.1
    with pytest.raises(TrainingFailed, match=r"exit 2 is dead: its entropy is 1\.386 nats for every image"):
        check_exits(logits)


def test_a_dead_head_may_prefer_a_class(logits):
    logits[0] = np.array([0, 0, 3, 0]) + np.random.default_rng(1).normal(0, 1e-6, (50, 4))
    with pytest.raises(TrainingFailed, match="exit 0 is dead"):
        check_exits(logits)


def test_an_exit_that_is_sure_of_every_image_is_alive(logits):
    logits[0] = 100 * np.eye(4)[np.arange(50) % 4]
    check_exits(logits)
