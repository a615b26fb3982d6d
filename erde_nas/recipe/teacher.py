"""The recipe's `teacher`."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from erde_nas.recipe.distil import Share
from erde_nas.recipe.network import Head, NetworkSection, Width
from erde_nas.recipe.normalisation import USUAL
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.section import MOST_STAGES, Depth, one_of

ClassName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]


class TeacherSection(NetworkSection):
    """The early-exit teacher: trained here, or the user's own checkpoint."""

    of_checkpoint: ClassVar = ("mean", "std", "normalisation", "classes")  # how it was trained
    later = (*of_checkpoint, "head_gradient", "strides")

    checkpoint: str | None = None
    """File of your own classifier: a `torch.export` program, a network of a former run, or weights of timm's."""
    timm: str | None = None
    """The timm model that the checkpoint belongs to. Needs the extra `timm`."""
    mean: tuple[float, ...] | None = None
    """Of your classifier's normalisation, per channel, of pixels in [0, 1]. null: the data set's."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """The deviations that belong to `mean`."""
    normalisation: Annotated[str, one_of(USUAL)] | None = None
    """A usual normalisation by name, instead of `mean` and `std`."""
    classes: tuple[ClassName, ...] | None = None
    """The names of your classifier's outputs, in their order. null: the data set's order."""
    stem: Width = 32
    depths: Annotated[tuple[Depth, ...], Field(max_length=MOST_STAGES)] = (2, 2, 2)
    widths: tuple[Width, ...] = (32, 64, 128)
    head: Head = "gap"
    head_gradient: Share = 1.0
    """Share of an early head's gradient that reaches the trunk. 0: the trunk learns from the last exit."""
    train: OptimizerSection = OptimizerSection(epochs=30)
    """How the teacher is trained, where it is not your own."""

    @model_validator(mode="after")
    def _weights_for_timm(self) -> "TeacherSection":
        if self.timm is not None and self.checkpoint is None:
            raise ValueError(f"timm: {self.timm} needs checkpoint: the file with its weights; nothing is downloaded")
        return self

    @model_validator(mode="after")
    def _how_a_checkpoint_was_trained(self) -> "TeacherSection":
        said = [key for key in self.of_checkpoint if getattr(self, key) is not None]
        if said and self.checkpoint is None:
            raise ValueError(f"{', '.join(said)} belongs to a checkpoint of your own; add checkpoint, or remove it")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std belong together, but {'std' if self.std is None else 'mean'} is missing")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean and std need one number per channel, but hold {len(self.mean)} and {len(self.std)}")
        if self.mean is not None and max(self.mean, default=0.0) > 1:
            raise ValueError("mean and std are those of pixels scaled to [0, 1]; divide both by 255")
        if self.mean is not None and self.normalisation is not None:
            raise ValueError(f"normalisation: {self.normalisation} says what mean and std would say; remove either")
        return self
