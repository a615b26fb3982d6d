"""`distil: {preset: published}`: a recipe's loss and training with the authors' values in place of our defaults.

What the recipe says itself stays. Where it says `finish.train.epochs`, the published milestones keep their shares.
"""

from dataclasses import dataclass, replace
from typing import Any

from erde_nas.errors import UserError
from erde_nas.recipe.distil import PARTS, DistilSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.published import AUGMENTATION, Published, published
from erde_nas.recipe.recipe import Recipe

WHAT = {"loss", "preset", *PARTS}  # keys of a distil section that are no weights


@dataclass(frozen=True)
class Expanded:
    """A loss and its training with every value; `text` says what a preset brought, `preset` records it."""

    section: DistilSection
    training: OptimizerSection
    text: str = ""
    preset: dict[str, Any] | None = None

    def scaled(self, share: float) -> "Expanded":
        """The same with `share` times as many epochs."""
        return replace(self, training=self.training.lasting(max(1, round(self.training.epochs * share))))


def expand(recipe: Recipe, section: DistilSection) -> Expanded:
    """`section` and the recipe's `finish.train`, with the values of the section's preset if it has one.

    Raises UserError where the preset knows neither the recipe's pair nor the loss.
    """
    if section.preset is None:
        return Expanded(section, recipe.finish.train)
    teacher, student = recipe.teacher.model, recipe.student.model if recipe.student else None
    try:
        found = published(section.loss, teacher, student)
    except ValueError as error:
        raise UserError(f"distil.{error}") from None
    own = section.model_fields_set - WHAT
    weights = {key: value for key, value in found.distil.items() if key not in own}
    training = _training(found, recipe.finish.train)
    text = f"preset published, {teacher} → {student}, {section.loss}: {_list(weights)}; {_list(_values(training))}"
    if kept := [*(f"distil.{key}" for key in sorted(own)), *(f"finish.train.{key}" for key in _said(recipe))]:
        text += f"; of the recipe itself: {', '.join(kept)}"
    if found.borrowed:
        text += f"; not published for this pair, taken from {found.borrowed}"
    record = {"pair": [teacher, student], "distil": weights, "train": _values(training), "borrowed": found.borrowed}
    return Expanded(section.model_copy(update={**weights, "preset": None}), training, text, record)


def expanded(recipe: Recipe) -> Recipe:
    """The recipe with its own preset's values for the loss, the students' training and the augmentation."""
    if recipe.distil.preset is None:
        return recipe
    own = expand(recipe, recipe.distil)
    views = {"cached_views": own.training.epochs, **AUGMENTATION}
    update = {key: value for key, value in views.items() if key not in recipe.views.model_fields_set}
    return recipe.model_copy(
        update={
            "distil": own.section,
            "finish": recipe.finish.model_copy(update={"train": own.training}),
            "views": recipe.views.model_copy(update=update),
        }
    )


def _training(found: Published, given: OptimizerSection) -> OptimizerSection:
    own = {key: getattr(given, key) for key in given.model_fields_set}
    training = OptimizerSection(**found.train)
    if "epochs" in own and "milestones" not in own:
        training = training.lasting(given.epochs)
    return OptimizerSection(**{**_values(training), **own})


def _said(recipe: Recipe) -> list[str]:
    return sorted(recipe.finish.train.model_fields_set)


def _values(training: OptimizerSection) -> dict[str, Any]:
    return {key: getattr(training, key) for key in type(training).model_fields}


def _list(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_show(value)}" for key, value in values.items()) or "no weights"


def _show(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(list(value) if isinstance(value, tuple) else value)
