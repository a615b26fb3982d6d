"""MLD against plain loops over samples, pairs and classes; what its weights mean; its limits."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, rel_entr, softmax

from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.terms.mld import MLD, multi_level_loss
from erde_nas.recipe.distil import DistilSection

EXITS, BATCH, CLASSES = 2, 16, 25  # samples to classes as the authors' 64 to 100
GENERATOR = np.random.default_rng(3)
STUDENT, TEACHER = 3 * GENERATOR.normal(size=(2, EXITS, BATCH, CLASSES))
ONES = np.ones((EXITS, BATCH))
AUTHORS = [2.0, 3.0, 4.0, 5.0, 6.0]


def mld(student: np.ndarray, teacher: np.ndarray, weight: np.ndarray, temperatures: list[float]) -> np.ndarray:
    arrays = [torch.from_numpy(array) for array in (student, teacher, weight)]
    return multi_level_loss(*arrays, torch.tensor(temperatures, dtype=torch.float64)).numpy()


def by_loops(student: np.ndarray, teacher: np.ndarray, temperature: float, divisor: int) -> float:
    """The authors' levels of one exit, (batch, classes) twice; `divisor` is the batch size in instance and batch."""
    p, q = softmax(student / temperature, -1), softmax(teacher / temperature, -1)
    samples, classes = range(len(p)), range(p.shape[1])
    total = temperature**2 * sum(rel_entr(q[i], p[i]).sum() for i in samples) / divisor
    total += sum((p[i] @ p[j] - q[i] @ q[j]) ** 2 for i in samples for j in samples) / divisor
    for a in classes:
        for b in classes:
            total += (p[:, a] @ p[:, b] - q[:, a] @ q[:, b]) ** 2 / len(classes)
    return float(total)


def test_weights_of_one_give_the_authors_loss_at_their_samples_per_class() -> None:
    expected = [sum(by_loops(s, t, x, BATCH) for x in AUTHORS) for s, t in zip(STUDENT, TEACHER, strict=True)]
    np.testing.assert_allclose(mld(STUDENT, TEACHER, ONES, AUTHORS), expected, rtol=1e-9)


@pytest.mark.parametrize("times", [2, 8])
def test_a_batch_that_repeats_itself_is_no_stronger(times: int) -> None:
    student, teacher, ones = (np.concatenate([array] * times, axis=1) for array in (STUDENT, TEACHER, ONES))
    np.testing.assert_allclose(mld(student, teacher, ones, AUTHORS), mld(STUDENT, TEACHER, ONES, AUTHORS), rtol=1e-9)


def test_two_samples_of_two_classes_by_hand() -> None:
    """Student uniform; the teacher is certain of class 0, then of class 1 (but for 1e-20)."""
    student, teacher = np.zeros((1, 2, 2)), np.array([[[46.0, 0.0], [0.0, 46.0]]])
    # Teacher: P Pᵀ = Pᵀ P = identity; student: all entries 1/2. Each of the four entries differs by 1/2.
    n = 0.64 * 2
    expected = np.log(2) + n * (4 * 1 / 4) / 2**2 + (n / 2) ** 2 * (4 * 1 / 4) / 2
    assert mld(student, teacher, np.ones((1, 2)), [1.0])[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("absent", [[0], [2, 5], list(range(15))])
def test_a_mask_leaves_the_samples_out_and_keeps_the_divisors(absent: list[int]) -> None:
    weight = ONES.copy()
    weight[0, absent] = 0
    present = np.setdiff1d(np.arange(BATCH), absent)
    got = mld(STUDENT, TEACHER, weight, AUTHORS)
    expected = sum(by_loops(STUDENT[0, present], TEACHER[0, present], x, BATCH) for x in AUTHORS)
    assert got[0] == pytest.approx(expected, rel=1e-9)
    assert got[1] == pytest.approx(mld(STUDENT, TEACHER, ONES, AUTHORS)[1])  # the other exit has its own mask


def test_weights_between_against_loops() -> None:
    """A pair counts √(w w') in the batch level, a sample √w in the class level's matrix."""
    weight = GENERATOR.uniform(0, 3, (EXITS, BATCH))
    p, q = softmax(STUDENT / 2, -1), softmax(TEACHER / 2, -1)
    for exit_, got in enumerate(mld(STUDENT, TEACHER, weight, [2.0])):
        w, s, t = weight[exit_], p[exit_], q[exit_]
        instance = (w * 4 * rel_entr(t, s).sum(-1)).mean()
        pairs = [np.sqrt(w[i] * w[j]) * (s[i] @ s[j] - t[i] @ t[j]) ** 2 for i in range(BATCH) for j in range(BATCH)]
        matrix = sum(np.sqrt(w[i]) * (np.outer(s[i], s[i]) - np.outer(t[i], t[i])) for i in range(BATCH))
        assert got == pytest.approx(instance + sum(pairs) / BATCH + (matrix**2).sum() / CLASSES, rel=1e-9)


def test_an_empty_mask_gives_zero_and_no_gradient() -> None:
    student = torch.from_numpy(STUDENT).requires_grad_()
    weight = torch.ones(EXITS, BATCH)
    weight[1] = 0
    loss = multi_level_loss(student, torch.from_numpy(TEACHER), weight, torch.tensor(AUTHORS))
    assert loss[1] == 0
    loss.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert not student.grad[1].any()
    assert student.grad[0].any()


def test_a_uniform_teacher_in_closed_form() -> None:
    """Its P Pᵀ is 1/C everywhere and its Pᵀ P is batch/C² everywhere."""
    p = softmax(STUDENT, -1)
    instance = (logsumexp(STUDENT, -1) - STUDENT.mean(-1) - np.log(CLASSES)).mean(-1)
    batches = ((p @ p.swapaxes(1, 2) - 1 / CLASSES) ** 2).sum((1, 2)) / BATCH
    classes = ((p.swapaxes(1, 2) @ p - BATCH / CLASSES**2) ** 2).sum((1, 2)) / CLASSES
    np.testing.assert_allclose(mld(STUDENT, 0 * TEACHER, ONES, [1.0]), instance + batches + classes, rtol=1e-9)


def test_at_high_temperature_only_the_instance_level_is_left() -> None:
    difference = STUDENT - TEACHER
    squared = (difference - difference.mean(-1, keepdims=True)) ** 2
    expected = squared.sum(-1).mean(-1) / (2 * CLASSES)
    np.testing.assert_allclose(mld(STUDENT, TEACHER, ONES, [1e5]), expected, rtol=1e-3)


@pytest.mark.parametrize(("loss", "base"), [("mld", 4.0), ("ea-mld", 4.0), ("mld+ls", 2.0), ("ea-mld+ls", 2.0)])
def test_the_recipe_s_temperatures_are_the_published_ones(loss: str, base: float) -> None:
    """Four stand in the authors' code, the fifth is their base: 4, and 2 with standardised logits."""
    section = DistilSection.model_validate({"loss": loss})
    assert sorted(section.level_temperatures) == sorted([base, 2.0, 3.0, 5.0, 6.0])
    assert DistilSection.model_validate({"loss": loss, "mld_temperatures": (7.0,)}).level_temperatures == (7.0,)


def test_the_levels_weigh_as_in_the_authors_two_views_of_one_image() -> None:
    """Their total with the same image as weak and strong view: a masked half of each level, and the whole instance
    level once more. `by_loops` with one level at a time is their code."""

    def level(which: int) -> float:
        p, q = softmax(STUDENT[0] / 4, -1), softmax(TEACHER[0] / 4, -1)
        if which == 0:
            return 16 * float(rel_entr(q, p).sum(-1).mean())
        if which == 1:
            return float(((p @ p.T - q @ q.T) ** 2).sum() / BATCH)
        return float(((p.T @ p - q.T @ q) ** 2).sum() / CLASSES)

    half = 0.5  # the share of an even batch, or of the classes, at or below the median confidence
    authors = (half * level(0) + level(0)) + half * level(1) + half * level(2)
    step = Step(torch.from_numpy(STUDENT), torch.zeros(BATCH, dtype=torch.long), torch.from_numpy(TEACHER))
    section = DistilSection(loss="mld", mld_temperatures=(4.0,))
    got = MLD(section.level_temperatures, section.mld_levels).double()(step, torch.from_numpy(ONES))
    assert float(got[0]) == pytest.approx(authors, rel=1e-9)


def test_autocast_does_not_touch_the_products() -> None:
    student, teacher, weight = (torch.from_numpy(array).float() for array in (STUDENT, TEACHER, ONES))
    plain = multi_level_loss(student, teacher, weight, torch.tensor(AUTHORS))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(multi_level_loss(student, teacher, weight, torch.tensor(AUTHORS)), plain)


def test_ea_kd_s_weights_and_standardised_logits_reach_the_instance_level_alone() -> None:
    """The public code of EA-MLD+LS, level by level, on one view of the student's first exit."""
    section = DistilSection(loss="ea-mld+ls")
    term = MLD(section.level_temperatures, section.mld_levels).double()
    student, teacher = torch.from_numpy(STUDENT[:1]), torch.from_numpy(TEACHER[:1])
    labels = torch.zeros(BATCH, dtype=torch.long)
    got = Objective(section, [1.0], term).double()(Step(student, labels, teacher))
    cross_entropy = float((logsumexp(STUDENT[0], -1) - STUDENT[0][:, 0]).mean())
    z_s, z_t = ((z[0] - z[0].mean(-1, keepdims=True)) / z[0].std(-1, keepdims=True) for z in (STUDENT, TEACHER))
    p3, q3 = softmax(STUDENT[0] / 3, -1), softmax(TEACHER[0] / 3, -1)
    h_s, h_t = (-(p * np.log(p)).sum(-1) for p in (p3, q3))
    weight = (h_t + h_t * h_s / np.log(CLASSES)) / 2
    total = 0.0
    for t in (2.0, 2.0, 3.0, 5.0, 6.0):
        total += 1.5 * t**2 * (weight * rel_entr(softmax(z_t / t, -1), softmax(z_s / t, -1)).sum(-1)).mean()
        p, q = softmax(STUDENT[0] / t, -1), softmax(TEACHER[0] / t, -1)
        total += 0.5 * ((p @ p.T - q @ q.T) ** 2).sum() / BATCH + 0.5 * ((p.T @ p - q.T @ q) ** 2).sum() / CLASSES
    assert float(got) - cross_entropy == pytest.approx(total, rel=1e-5)
