"""The losses against numbers worked out by hand, numpy and scipy, and the derivatives on paper."""

from math import log

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy as scipy_entropy

from erde_nas.distil.losses import cross_entropy, erde_loss, erde_terms, kd_loss

SETTINGS = {"temperature": 3.0, "kd_weight": 0.7, "entropy_weight": 0.4}


def draw(seed: int = 0, batch: int = 40, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student and teacher logits (batch, classes) float64, and labels that the teacher gets right in about half."""
    generator = np.random.default_rng(seed)
    student, teacher = 3 * generator.normal(size=(2, batch, classes))
    labels = np.where(generator.random(batch) < 0.5, teacher.argmax(1), generator.integers(0, classes, batch))
    return student, teacher, labels


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def kd_by_scipy(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    return temperature**2 * rel_entr(softmax(teacher / temperature, -1), softmax(student / temperature, -1)).sum(-1)


def erde_by_scipy(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    temperature: float,
    kd_weight: float,
    entropy_weight: float,
) -> np.ndarray:
    """ERDE per sample in a plain loop."""
    rows = []
    for s, t, label in zip(student, teacher, labels, strict=True):
        loss = -log_softmax(s)[label]
        if t.argmax() == label:
            loss += kd_weight * kd_by_scipy(s, t, temperature)
        else:
            loss -= entropy_weight * scipy_entropy(softmax(s))
        rows.append(loss)
    return np.array(rows)


def test_two_classes_by_hand() -> None:
    student = torch.tensor([[log(3), 0.0], [log(3), 0.0]])  # probabilities 3/4 and 1/4
    teacher = torch.tensor([[log(4), 0.0], [0.0, log(4)]])  # 4/5 for class 0, then for class 1
    labels = torch.tensor([0, 0])  # the teacher is right, then wrong
    right = -log(3 / 4) + 0.5 * (4 / 5 * log((4 / 5) / (3 / 4)) + 1 / 5 * log((1 / 5) / (1 / 4)))
    wrong = -log(3 / 4) - 0.2 * (3 / 4 * log(4 / 3) + 1 / 4 * log(4))
    got = erde_terms(student, teacher, labels, temperature=1.0, kd_weight=0.5, entropy_weight=0.2)
    assert got.tolist() == pytest.approx([right, wrong], abs=1e-6)
    assert got.tolist() == pytest.approx([0.2911824, 0.1752150], abs=1e-6)
    loss = erde_loss(student, teacher, labels, temperature=1.0, kd_weight=0.5, entropy_weight=0.2)
    assert loss.shape == ()
    assert float(loss) == pytest.approx((right + wrong) / 2, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_erde_is_what_scipy_computes(seed: int) -> None:
    arrays = draw(seed, classes=2 + 4 * seed)
    expected = erde_by_scipy(*arrays, **SETTINGS)
    np.testing.assert_allclose(erde_terms(*tensors(*arrays), **SETTINGS), expected, atol=1e-6)
    assert float(erde_loss(*tensors(*arrays), **SETTINGS)) == pytest.approx(expected.mean(), abs=1e-6)


def test_a_leading_axis_of_exits_changes_nothing() -> None:
    student, teacher, labels = tensors(*draw())
    both = erde_terms(
        torch.stack([student, student.flip(0)]), torch.stack([teacher] * 2), labels.expand(2, -1), **SETTINGS
    )
    assert torch.equal(both[0], erde_terms(student, teacher, labels, **SETTINGS))
    assert torch.equal(both[1], erde_terms(student.flip(0), teacher, labels, **SETTINGS))


def test_a_teacher_that_is_always_right_leaves_cross_entropy_and_distillation() -> None:
    student, teacher, _ = tensors(*draw())
    labels = teacher.argmax(1)
    expected = cross_entropy(student, labels) + 0.7 * kd_loss(student, teacher, 3.0)
    assert torch.equal(erde_terms(student, teacher, labels, **SETTINGS), expected)


def test_a_teacher_that_is_always_wrong_leaves_cross_entropy_less_entropy() -> None:
    student, teacher, _ = draw()
    labels = (teacher.argmax(1) + 1) % 5
    expected = [
        -log_softmax(s)[label] - 0.4 * scipy_entropy(softmax(s)) for s, label in zip(student, labels, strict=True)
    ]
    got = erde_terms(*tensors(student, teacher, labels), **SETTINGS)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_cross_entropy_is_that_of_torch() -> None:
    student, _, labels = tensors(*draw())
    expected = torch.nn.functional.cross_entropy(student, labels, reduction="none")
    torch.testing.assert_close(cross_entropy(student, labels), expected)
    smoothed = torch.nn.functional.cross_entropy(student, labels, reduction="none", label_smoothing=0.3)
    torch.testing.assert_close(cross_entropy(student, labels, 0.3), smoothed)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0, 20.0])
def test_kd_is_what_scipy_computes(temperature: float) -> None:
    student, teacher, _ = draw()
    got = kd_loss(*tensors(student, teacher), temperature)
    np.testing.assert_allclose(got, kd_by_scipy(student, teacher, temperature), rtol=1e-9, atol=1e-12)


def test_kd_is_zero_for_equal_logits_and_blind_to_a_shift() -> None:
    student, teacher, _ = tensors(*draw())
    assert kd_loss(teacher, teacher, 3.0).abs().max() < 1e-14
    torch.testing.assert_close(kd_loss(student + 7.0, teacher - 2.0, 3.0), kd_loss(student, teacher, 3.0))


def test_kd_at_temperature_t_of_logits_times_t_is_t_squared_times_kd() -> None:
    student, teacher, _ = tensors(*draw())
    torch.testing.assert_close(kd_loss(4 * student, 4 * teacher, 4.0), 16 * kd_loss(student, teacher, 1.0))


def test_kd_tends_to_half_the_squared_logit_difference_per_class() -> None:
    """Hinton et al. 2015, eq. 4: at high temperature the gradient is (v - z) / N for centred logits v and z."""
    student, teacher, _ = tensors(*draw())
    centred = (student - student.mean(1, True)) - (teacher - teacher.mean(1, True))
    torch.testing.assert_close(kd_loss(student, teacher, 1e4), centred.square().sum(1) / (2 * 5), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("scale", [1e4, 6e4])
def test_extreme_logits_stay_finite(scale: float) -> None:
    student, teacher, labels = draw()
    extreme = torch.tensor(scale * np.sign(student), dtype=torch.float32, requires_grad=True)
    logits = torch.tensor(scale * np.sign(teacher), dtype=torch.float32)
    loss = erde_loss(extreme, logits, torch.from_numpy(labels), **SETTINGS)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(extreme.grad).all()


def test_kd_and_cross_entropy_pass_gradcheck() -> None:
    student, teacher, labels = tensors(*draw(batch=4))
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: kd_loss(s, teacher, 3.0), (student,))
    assert torch.autograd.gradcheck(lambda s: cross_entropy(s, labels), (student,))


def test_erde_passes_gradcheck() -> None:
    student, teacher, labels = tensors(*draw(batch=8))
    student.requires_grad_()
    # Entropies are taken in float32, so the differences must be coarse.
    assert torch.autograd.gradcheck(
        lambda s: erde_loss(s, teacher, labels, **SETTINGS), (student,), eps=1e-2, atol=1e-4, rtol=1e-2
    )


def test_the_gradient_is_the_one_on_paper() -> None:
    """p - y, and T (p_T - q_T) where the teacher is right, and λ p (log p + H) where it is wrong."""
    student, teacher, labels = draw()
    leaf = torch.from_numpy(student).requires_grad_()
    erde_terms(leaf, *tensors(teacher, labels), **SETTINGS).sum().backward()
    p = softmax(student, -1)
    right = (teacher.argmax(-1) == labels)[:, None]
    distil = 0.7 * 3.0 * (softmax(student / 3.0, -1) - softmax(teacher / 3.0, -1))
    spread = 0.4 * p * (np.log(p) + scipy_entropy(p, axis=-1)[:, None])
    expected = p - np.eye(5)[labels] + np.where(right, distil, spread)
    np.testing.assert_allclose(leaf.grad, expected, atol=1e-6)


def test_where_the_teacher_is_wrong_the_entropy_term_raises_the_entropy() -> None:
    student, teacher, _ = draw()
    labels = (teacher.argmax(1) + 1) % 5
    start, (t, y) = torch.from_numpy(student), tensors(teacher, labels)

    def descend(entropy_weight: float) -> np.ndarray:
        leaf = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([leaf], lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            erde_terms(leaf, t, y, temperature=3.0, kd_weight=1.0, entropy_weight=entropy_weight).sum().backward()
            optimizer.step()
        return scipy_entropy(softmax(leaf.detach().numpy(), -1), axis=-1)

    assert (descend(0.2) > descend(0.0)).all()
    # One step along the term alone: the entropy rises for every sample that is not uniform already.
    leaf = start.clone().requires_grad_()
    (erde_terms(leaf, t, y, **SETTINGS) - cross_entropy(leaf, y)).sum().backward()
    after = softmax((leaf - 1e-3 * leaf.grad).detach().numpy(), -1)
    assert (scipy_entropy(after, axis=-1) > scipy_entropy(softmax(student, -1), axis=-1)).all()


def test_no_gradient_reaches_the_teacher_through_the_choice_of_terms() -> None:
    student, teacher, _ = tensors(*draw())
    teacher.requires_grad_()
    labels = (teacher.argmax(1) + 1) % 5
    loss = erde_terms(student.requires_grad_(), teacher, labels, **SETTINGS).sum()
    assert torch.autograd.grad(loss, teacher)[0].abs().max() == 0
