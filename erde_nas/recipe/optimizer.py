"""A recipe's `train` sections: how weights are trained."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from erde_nas.recipe.section import Positive, Section


class OptimizerSection(Section):
    """SGD with Nesterov momentum and a one-cycle learning rate, a triangular one, or one with steps at `milestones`."""

    later = (
        "milestones",
        "gamma",
        "nesterov",
        "schedule",
        "label_smoothing",
        "lookahead",
        "decay_norms",
        "bias_rate",
    )

    epochs: Positive
    """Passes over the training images."""
    batch_size: Positive = 128
    """Images of a training step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """The highest of the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Of SGD."""
    milestones: tuple[Positive, ...] | None = None
    """Epochs after which the rate falls. []: it never falls; null: the schedule is used."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """What is left of the rate after each milestone, as a share."""
    nesterov: bool = True
    """Nesterov's momentum. false: plain momentum."""
    schedule: Literal["one-cycle", "triangular"] = "one-cycle"
    """How the learning rate rises and falls."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the label that all classes get alike."""
    lookahead: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Steps after which slow weights take the place of the trained ones. 0: never."""
    decay_norms: bool = True
    """Whether weight decay holds for biases and the scales of norms, too."""
    bias_rate: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of biases outside of heads, as a multiple."""

    @model_validator(mode="after")
    def _one_schedule(self) -> "OptimizerSection":
        if self.milestones is not None and self.schedule != "one-cycle":
            raise ValueError(f"schedule: {self.schedule} has no milestones; remove either")
        return self

    @model_validator(mode="after")
    def _rising_milestones(self) -> "OptimizerSection":
        marks = self.milestones or ()
        if list(marks) != sorted(set(marks)):
            raise ValueError(f"milestones must rise, but got {list(marks)}")
        if marks and marks[-1] >= self.epochs:
            raise ValueError(f"milestones must lie before the last of {self.epochs} epochs, but got {list(marks)}")
        return self

    def lasting(self, epochs: int) -> "OptimizerSection":
        """The same training over so many epochs, with its milestones at the same shares of it."""
        marks = {round(mark * epochs / self.epochs) for mark in self.milestones or ()}
        kept = tuple(sorted(mark for mark in marks if 0 < mark < epochs))
        return self.model_copy(update={"epochs": epochs, "milestones": None if self.milestones is None else kept})
