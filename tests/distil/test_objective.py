"""Which teacher exit a student exit learns from, and the loss of all exits against a sum in a loop."""

from typing import Any

import numpy as np
import pytest
import torch

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.distil.losses import cross_entropy, erde_terms, kd_loss
from erde_nas.distil.objective import exit_weights, make_loss, teacher_exits
from erde_nas.recipe import DistilSection

EXITS, BATCH, CLASSES = 3, 16, 4
GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, EXITS, BATCH, CLASSES, generator=GENERATOR) * 2
LABELS = torch.randint(0, CLASSES, (BATCH,), generator=GENERATOR)


def test_teacher_exits_by_hand() -> None:
    assert teacher_exits([30, 70, 100], [0.3, 0.6, 1.0]) == [0, 2, 2]
    assert teacher_exits([5, 100], [0.3, 0.6, 1.0]) == [0, 2]
    assert teacher_exits([5, 50, 100], [1.0]) == [0, 0, 0]
    assert teacher_exits([7], [0.2, 1.0]) == [1]


def test_teacher_exits_are_the_nearest_that_are_not_shallower() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        macs = np.cumsum(generator.integers(1, 50, generator.integers(1, 6)))
        teacher = np.cumsum(generator.integers(1, 50, generator.integers(1, 6)))
        shares = teacher / teacher[-1]
        got = teacher_exits(macs.tolist(), shares.tolist())
        for exit_, share in zip(got, macs / macs[-1], strict=True):
            distances = {j: t - share for j, t in enumerate(shares) if t - share > -1e-9}
            assert exit_ == min(distances, key=distances.__getitem__)


def test_equal_depths_match_in_spite_of_rounding() -> None:
    """A student like the teacher but a third as large: 0.1 + 0.2 is not 0.3 in floating point."""
    teacher = [0.1, 0.1 + 0.2, 0.7, 1.0]
    assert teacher_exits([1, 3, 7, 10], teacher) == [0, 1, 2, 3]
    assert teacher_exits([0.1 + 0.2, 1.0], [0.3, 1.0]) == [0, 1]


def test_exit_weights_sum_to_the_number_of_exits() -> None:
    assert exit_weights("uniform", 3).tolist() == [1, 1, 1]
    assert exit_weights("linear", 3).tolist() == [0.5, 1, 1.5]
    assert exit_weights("linear", 1).tolist() == [1]
    for kind in ("uniform", "linear"):
        assert float(exit_weights(kind, 7).sum()) == pytest.approx(7)


def per_sample(section: DistilSection, exit_: int) -> torch.Tensor:
    """The loss of one exit (batch,), by the definition of each loss."""
    student, teacher = STUDENT[exit_], TEACHER[exit_]
    if section.loss == "ce":
        return cross_entropy(student, LABELS)
    if section.loss == "kd":
        weight = entropy_adaptive_weight(student, teacher) if section.entropy_adaptive else 1.0
        return cross_entropy(student, LABELS) + section.kd_weight * weight * kd_loss(
            student, teacher, section.temperature
        )
    settings = section.model_dump(include={"temperature", "kd_weight", "entropy_weight", "entropy_adaptive"})
    return erde_terms(student, teacher, LABELS, **settings)


@pytest.mark.parametrize("weights", ["uniform", "linear"])
@pytest.mark.parametrize("loss", ["ce", "kd", "erde"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_loss_is_the_weighted_mean_over_the_exits(weights: Any, loss: Any, adaptive: bool) -> None:
    section = DistilSection(
        loss=loss,
        temperature=2.0,
        kd_weight=0.3,
        entropy_weight=0.6,
        entropy_adaptive=adaptive,
        exit_weights=weights,
    )
    share = {"uniform": [1 / 3, 1 / 3, 1 / 3], "linear": [1 / 6, 2 / 6, 3 / 6]}[weights]
    expected = sum(w * float(per_sample(section, i).mean()) for i, w in enumerate(share))
    got = make_loss(section, EXITS)(STUDENT, TEACHER, LABELS)
    assert got.shape == ()
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_without_a_teacher_every_loss_is_cross_entropy() -> None:
    plain = make_loss(DistilSection(loss="ce"), EXITS)(STUDENT, None, LABELS)
    for loss in ("erde", "kd"):
        section = DistilSection.model_validate({"loss": loss})
        assert torch.equal(make_loss(section, EXITS)(STUDENT, None, LABELS), plain)


def test_entropy_weight_zero_and_a_right_teacher_make_erde_kd() -> None:
    labels = TEACHER[0].argmax(-1)
    teacher = TEACHER[:1].expand(EXITS, -1, -1)
    erde, kd = (
        make_loss(DistilSection.model_validate({"loss": name}), EXITS)(STUDENT, teacher, labels)
        for name in ("erde", "kd")
    )
    torch.testing.assert_close(erde, kd)
