"""search/*.yaml -> Recipe. YAML ends here: the rest of the program sees these frozen, checked values."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidatorFunctionWrapHandler, field_validator, model_validator

from erde_nas.networks.families import family_of
from erde_nas.recipe.compress import CompressOptions
from erde_nas.recipe.distil import NO_TERM, DistilSection
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.network import StudentSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.published import published
from erde_nas.recipe.search import SearchSection, SupernetSection
from erde_nas.recipe.section import Positive, Section, one_of
from erde_nas.recipe.space import SpaceSection
from erde_nas.recipe.teacher import TeacherSection
from erde_nas.registry import EXIT_RULES, TERMS

LEFT_OPEN = 10**9  # epochs that a preset will say


class FinishSection(Section):
    """The shortlist and its further training, by successive halving, and what its students are joined into."""

    later = ("cascades",)

    students: Positive = 4
    """Students that are trained to the end."""
    rungs: Annotated[int, Field(ge=1, le=4)] = 2
    """Rungs of the halving. Each starts with twice the students and half the epochs of the next."""
    train: OptimizerSection
    """Training to the end, over all rungs. A preset may say its epochs."""
    cascades: bool = True
    """Try pairs of finished networks as cascades, without training."""

    @field_validator("train", mode="wrap")
    @classmethod
    def _a_preset_may_say_the_epochs(cls, value: Any, check: ValidatorFunctionWrapHandler) -> OptimizerSection:
        if not isinstance(value, dict):
            return check(value)
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}  # as from JSON
        train: OptimizerSection = check({"epochs": LEFT_OPEN, **values})
        if "epochs" not in values:
            train.model_fields_set.discard("epochs")
        return train


class CompressSection(CompressOptions):
    """Pruning and quantization, with the training that they need."""

    train: OptimizerSection
    """Training after pruning."""


class Recipe(Section):
    """One search, from the images to the report."""

    later = ("exit_rule", "example_images")

    name: str
    """Name of the recipe."""
    description: str = ""
    """Shown by `erde-nas recipes list`."""
    dataset: DatasetSection
    """Which images, and how they are split."""
    views: ViewsSection = ViewsSection()
    """Augmentation."""
    teacher: TeacherSection = TeacherSection()
    """The network that students learn from."""
    student: StudentSection | None = None
    """The student that `erde-nas distil` trains. A search does not use it."""
    space: SpaceSection
    """What may vary between students."""
    distil: DistilSection = DistilSection()
    """The loss of the students."""
    exit_rule: Annotated[str, one_of(EXIT_RULES)] = "entropy"
    """What decides whether an image leaves at an exit."""
    train: OptimizerSection
    """How each candidate is trained."""
    search: SearchSection = SearchSection()
    """How candidates are proposed and judged."""
    supernet: SupernetSection = SupernetSection()
    """For `evaluator: supernet`."""
    finish: FinishSection
    """Further training of the best candidates."""
    compress: CompressSection
    """Pruning and quantization."""
    example_images: bool = True
    """The report shows small copies of some test images."""
    profiles: Annotated[tuple[str, ...], Field(min_length=1)] = ("cpu-1thread",)
    """Hardware profiles to measure under, by name or file."""

    @property
    def search_training(self) -> OptimizerSection:
        """How the networks of the search are trained: each candidate, or the supernet that they are cut from."""
        return self.supernet.train if self.search.evaluator == "supernet" else self.train

    @model_validator(mode="after")
    def _students_of_the_own_network(self) -> "Recipe":
        if self.space.own is None:
            return self
        if self.teacher.checkpoint is None:  # it teaches itself
            self.__dict__["teacher"] = self.teacher.model_copy(update={"checkpoint": self.space.own})
        if self.teacher.checkpoint != self.space.own:
            raise ValueError(
                f"space.own: students of {self.space.own} learn from it itself, but teacher.checkpoint is "
                f"{self.teacher.checkpoint}; remove teacher.checkpoint"
            )
        if self.search.evaluator == "supernet":
            raise ValueError("space.own needs evaluator: train: each student begins with the weights of your network")
        return self

    @model_validator(mode="after")
    def _a_known_preset(self) -> "Recipe":
        if self.distil.preset is not None:
            published(self.distil.loss, self.teacher.model, self.student.model if self.student else None)
        elif "epochs" not in self.finish.train.model_fields_set:
            raise ValueError("finish.train.epochs is missing; add it")
        return self

    @model_validator(mode="after")
    def _what_a_supernet_can_do(self) -> "Recipe":
        term = self.distil.method.term
        if self.search.evaluator == "supernet" and term != NO_TERM and TERMS[term].own_weights:
            raise ValueError(
                f"evaluator: supernet cannot train with the loss '{self.distil.loss}': its term '{term}' has "
                "weights that belong to one student; choose a loss on logits alone, such as kd+entropy, kd, dkd or mld"
            )
        several = [choices for choices in self.space.strides or () if len(choices) > 1]
        if self.search.evaluator == "supernet" and several:
            raise ValueError(
                "evaluator: supernet shares weights between students of one resolution, but a stage of space.strides "
                f"holds {list(several[0])}; leave one of them, or use evaluator: train"
            )
        if self.search.evaluator == "supernet" and len(self.space.stem_strides) > 1:
            raise ValueError(
                "evaluator: supernet shares weights between students of one resolution, but space.stem_strides holds "
                f"{list(self.space.stem_strides)}; leave one of them, or use evaluator: train"
            )
        whole = [name for name in self.space.families if not family_of(name).slices]
        if self.search.evaluator == "supernet" and whole:
            raise ValueError(
                f"evaluator: supernet cannot share the weights of {', '.join(whole)}, whose blocks split channels by "
                "their number; leave it out of space.families, or use evaluator: train"
            )
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file. Raises UserError that lists every problem with file, line and key."""
    from erde_nas.recipe.strict_yaml import load_strict

    return load_strict(path, Recipe)
