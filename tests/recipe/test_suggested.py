"""A first recipe: its budget against a sum by hand, its text against the recipe's own reader."""

import itertools

import pytest

from erde_nas.recipe.recipe import load_recipe
from erde_nas.recipe.suggested import LARGE, STUDENTS, Budget, Facts, Speed, budget, recipe_text

DIGITS = Facts("my-digits", {"name": "digits", "validation": 0.2}, 1, 16, 1200, ("cpu-1thread",))


def by_hand(found: Budget, speed: Speed) -> float:
    """What the stages add up to, one training after the other."""
    seconds = 60.0 + sum(speed.teacher_pass_s for _ in range(found.views))
    seconds += sum(speed.teacher_epoch_s for _ in range(found.teacher_epochs))
    for _ in range(found.trials):
        seconds += 2.0 + sum(speed.student_epoch_s for _ in range(found.brief_epochs))
    for _ in range(STUDENTS):
        seconds += sum(speed.student_epoch_s for _ in range(found.finish_epochs + found.prune_epochs))
    return seconds


@pytest.mark.parametrize(
    ("teacher_s", "student_s", "hours"), list(itertools.product((0.0, 1.0, 30.0), (0.2, 5.0, 20.0), (0.25, 1.0, 8.0)))
)
def test_what_is_planned_takes_the_time_that_is_given(teacher_s: float, student_s: float, hours: float) -> None:
    speed = Speed(teacher_s, student_s, teacher_s / 3)
    found = budget(speed, hours)
    assert found.seconds == pytest.approx(by_hand(found, speed))
    least = Budget(4 if teacher_s else 0, 2, 6, 1, 4, 1, 0.0)
    assert found.seconds <= max(3600 * hours, by_hand(least, speed)) * 1.001
    more = budget(speed, 2 * hours)
    assert (more.teacher_epochs, more.finish_epochs) >= (found.teacher_epochs, found.finish_epochs)
    assert found.brief_epochs < found.finish_epochs


@pytest.mark.parametrize("goal", [None, {"speedup": 10.0, "accuracy_drop": 0.01}])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("images", [1200, LARGE])
def test_the_text_is_a_recipe(tmp_path, images, channels, goal):
    section = {"name": "folder", "path": '/photos of "mine": #1', "image_size": 48, "validation": 0.1}
    facts = Facts("on", section, channels, 48, images, ("cpu-1thread", "./here.yaml"), goal=goal)
    (tmp_path / "r.yaml").write_text(recipe_text(facts, Budget(7, 3, 9, 2, 11, 4, 0.0)))
    recipe = load_recipe(tmp_path / "r.yaml")
    assert (recipe.name, recipe.dataset.path, recipe.dataset.image_size) == ("on", '/photos of "mine": #1', 48)
    assert (recipe.teacher.train.epochs, recipe.views.cached_views, recipe.search.trials) == (7, 3, 9)
    assert (recipe.train.epochs, recipe.finish.train.epochs, recipe.compress.train.epochs) == (2, 11, 4)
    assert recipe.views.flip is (channels == 3)
    assert recipe.profiles == ("cpu-1thread", "./here.yaml")
    assert (recipe.compress.goal.wanted if recipe.compress.goal else None) == goal
    assert recipe.teacher.stem <= 8 * channels


def test_a_classifier_of_ones_own_is_not_trained(tmp_path):
    facts = Facts("mine", {"name": "digits"}, 1, 16, 1200, ("cpu-1thread",), "/my models/net.pt2")
    (tmp_path / "r.yaml").write_text(recipe_text(facts, budget(Speed(0.0, 1.0, 1.0), 1.0)))
    assert load_recipe(tmp_path / "r.yaml").teacher.checkpoint == "/my models/net.pt2"
