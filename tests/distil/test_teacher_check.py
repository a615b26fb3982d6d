"""Which losses a teacher plays a part in, and when it is trusted."""

import pytest

from erde_nas.distil.teacher_check import cross_entropy_alone, learns_from_teacher
from erde_nas.distil.verdict import Verdict
from erde_nas.recipe.distil import LOSSES, DistilSection

ALONE = {"ce", "self", "self-last"}  # the losses that docs/losses.md calls without a teacher


def test_every_loss_but_those_without_a_teacher_learns_from_it() -> None:
    found = {name for name in LOSSES if not learns_from_teacher(DistilSection(loss=name))}
    assert found == ALONE
    assert learns_from_teacher(DistilSection(loss="ce", term="kd"))
    assert learns_from_teacher(DistilSection(loss="erde", term="none")), "its entropy term asks the teacher"


@pytest.mark.parametrize(
    ("teacher", "student", "trusted"), [(0.9, 0.8, True), (0.8, 0.9, False), (0.8, 0.8, False), (0.1, None, True)]
)
def test_only_a_better_teacher_is_trusted(teacher: float, student: float | None, trusted: bool) -> None:
    assert Verdict(teacher, student).trusted is trusted


def test_the_weights_of_the_exits_stay() -> None:
    section = DistilSection(
        loss="erde", exit_weights="linear", gradient_rescaling=True, head_gradient=0.5, temperature=2.0
    )
    alone = cross_entropy_alone(section)
    assert (alone.loss, alone.method.term, alone.method.erde) == ("ce", "none", False)
    assert (alone.exit_weights, alone.gradient_rescaling, alone.head_gradient) == ("linear", True, 0.5)


def test_the_verdict_in_words() -> None:
    assert Verdict(0.45, 0.612).text() == (
        "the teacher is right on 45.0% of the validation images, a student of middling size that learnt briefly "
        "without it on 61.2%: students learn without it, with cross-entropy"
    )
