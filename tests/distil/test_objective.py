"""Which teacher exit a student exit learns from, and the loss of all exits against a sum in a loop."""

from typing import Any

import numpy as np
import pytest
import torch

from erde_nas.distil.entropy_adaptive import entropy_adaptive_weight
from erde_nas.distil.losses import cross_entropy, kd_loss
from erde_nas.distil.objective import Objective, exit_weights, teacher_exits
from erde_nas.distil.step import Step
from erde_nas.distil.terms.kd import KD
from erde_nas.recipe.distil import DistilSection

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
            distances = {j: t - share for j, t in enumerate(shares) if t - share >= -0.02}
            assert exit_ == min(distances, key=distances.__getitem__)


def test_equal_depths_match_in_spite_of_rounding() -> None:
    """A student like the teacher but a third as large: 0.1 + 0.2 is not 0.3 in floating point."""
    teacher = [0.1, 0.1 + 0.2, 0.7, 1.0]
    assert teacher_exits([1, 3, 7, 10], teacher) == [0, 1, 2, 3]
    assert teacher_exits([0.1 + 0.2, 1.0], [0.3, 1.0]) == [0, 1]


def test_exit_weights_sum_to_the_number_of_exits() -> None:
    macs = [1.0, 4.0, 7.0]
    assert exit_weights("uniform", macs).tolist() == [1, 1, 1]
    assert exit_weights("linear", macs).tolist() == [0.5, 1, 1.5]
    assert exit_weights("macs", macs).tolist() == [0.25, 1, 1.75]
    for kind in ("uniform", "linear", "macs"):
        assert exit_weights(kind, [5.0]).tolist() == [1]
        assert float(exit_weights(kind, [2.0, 3.0, 5.0, 7.0, 11.0]).sum()) == pytest.approx(5)


MACS = [1.0, 3.0, 8.0]


def value(
    section: DistilSection, teacher: torch.Tensor | None, labels: torch.Tensor, done: float = 0.0
) -> torch.Tensor:
    """The objective of all exits with plain KD as its term."""
    term = KD(section.temperature) if section.method.term == "kd" else None
    return Objective(section, MACS, term)(Step(STUDENT, labels, teacher, done))


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
    right = teacher.argmax(-1) == LABELS
    weight = entropy_adaptive_weight(student, teacher) if section.entropy_adaptive else torch.ones(BATCH)
    taught = section.kd_weight * weight * kd_loss(student, teacher, section.temperature)
    log_p = student.log_softmax(-1)
    uncertain = section.entropy_weight * (log_p.exp() * log_p).sum(-1)
    return cross_entropy(student, LABELS) + torch.where(right, taught, uncertain)


@pytest.mark.parametrize("weights", ["uniform", "linear", "macs"])
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
    share = {"uniform": [1 / 3, 1 / 3, 1 / 3], "linear": [1 / 6, 2 / 6, 3 / 6], "macs": [1 / 12, 3 / 12, 8 / 12]}[
        weights
    ]
    expected = sum(w * float(per_sample(section, i).mean()) for i, w in enumerate(share))
    got = value(section, TEACHER, LABELS)
    assert got.shape == ()
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_without_a_teacher_every_loss_is_cross_entropy() -> None:
    plain = value(DistilSection(loss="ce"), None, LABELS)
    for loss in ("erde", "kd"):
        assert torch.equal(value(DistilSection.model_validate({"loss": loss}), None, LABELS), plain)


def test_a_right_teacher_makes_erde_kd() -> None:
    labels = TEACHER[0].argmax(-1)
    teacher = TEACHER[:1].expand(EXITS, -1, -1)
    erde, kd = (value(DistilSection.model_validate({"loss": name}), teacher, labels) for name in ("erde", "kd"))
    torch.testing.assert_close(erde, kd)


def test_wrong_weight_leads_from_masked_distillation_to_kd() -> None:
    """Without the entropy term ERDE is linear in `wrong_weight`, and at 1 it is KD."""
    kd = float(value(DistilSection(loss="kd"), TEACHER, LABELS))
    masked, half, whole = (
        float(value(DistilSection(loss="erde", entropy_weight=0.0, wrong_weight=weight), TEACHER, LABELS))
        for weight in (0, 0.5, 1)
    )
    assert whole == pytest.approx(kd, rel=1e-5)
    assert half == pytest.approx((masked + kd) / 2, rel=1e-5)
    assert masked < half


def test_entropy_warmup_rises_and_ends() -> None:
    section = DistilSection(loss="erde", entropy_weight=0.5, entropy_warmup=0.4)
    without = float(value(DistilSection(loss="erde", entropy_weight=0.0), TEACHER, LABELS))
    full = float(value(DistilSection(loss="erde", entropy_weight=0.5), TEACHER, LABELS)) - without
    for done, share in ((0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (0.9, 1.0)):
        assert float(value(section, TEACHER, LABELS, done)) - without == pytest.approx(share * full, abs=1e-5)
        tensor = value(section, TEACHER, LABELS, torch.tensor(done))  # type: ignore[arg-type]
        assert float(tensor) - without == pytest.approx(share * full, abs=1e-5)


def test_kd_warmup_scales_the_distillation_alone() -> None:
    section = DistilSection(loss="kd", kd_warmup=0.5)
    plain = float(value(DistilSection(loss="ce"), TEACHER, LABELS))
    kd = float(value(DistilSection(loss="kd"), TEACHER, LABELS)) - plain
    for done, share in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        assert float(value(section, TEACHER, LABELS, done)) - plain == pytest.approx(share * kd, abs=1e-5)


def test_entropy_of_early_exits_alone_leaves_the_last_exit_masked_kd() -> None:
    early = Objective(DistilSection(entropy_exits="early"), MACS, KD(3.0))
    assert early.entropy_weights.tolist() == pytest.approx([0.2, 0.2, 0.0])
    one_exit = Objective(DistilSection(loss="erde"), [1.0], KD(3.0))
    assert one_exit.entropy_weights.tolist() == [0.0]


def test_teacher_exits_of_the_same_stage_match() -> None:
    """ResNet8×4's exits lie a hair deeper than those of ResNet32×4, of which it has a fifth of the blocks."""
    assert teacher_exits([33.66, 66.8, 100.0], [0.3339, 0.667, 1.0]) == [0, 1, 2]


def test_teacher_exits_nearest() -> None:
    assert teacher_exits([44, 70, 100], [0.3, 0.6, 1.0], "nearest") == [0, 1, 2]
    assert teacher_exits([46, 90, 100], [0.3, 0.6, 1.0], "nearest") == [1, 2, 2]


def test_teacher_exits_last() -> None:
    assert teacher_exits([5, 50, 100], [0.3, 0.6, 1.0], "last") == [2, 2, 2]


def test_cross_entropy_and_distillation_have_their_weights() -> None:
    """The papers' 0.1 : 0.9."""
    plain, kd = (float(value(DistilSection(loss=name), TEACHER, LABELS)) for name in ("ce", "kd"))  # type: ignore[arg-type]
    got = value(DistilSection(loss="kd", ce_weight=0.1, kd_weight=0.9), TEACHER, LABELS)
    assert float(got) == pytest.approx(0.1 * plain + 0.9 * (kd - plain), rel=1e-5)


@pytest.mark.parametrize("temperature", [2.0, 3.0])
def test_the_temperature_of_ea_kd_s_weights_is_a_key(temperature: float) -> None:
    section = DistilSection(loss="ea-kd", ea_temperature=temperature, ce_weight=0.0)
    weight = entropy_adaptive_weight(STUDENT, TEACHER, temperature)
    expected = (weight * kd_loss(STUDENT, TEACHER, section.temperature)).mean()
    torch.testing.assert_close(value(section, TEACHER, LABELS), expected)
