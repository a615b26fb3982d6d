"""The `compress` section of a recipe, but for its training: how students are pruned and quantized, and towards what."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from erde_nas.recipe.goal import GoalSection
from erde_nas.recipe.section import Positive, Section

Share = Annotated[float, Field(gt=0, lt=1)]
Importance = Literal["magnitude", "group-norm", "taylor"]
Scope = Literal["layer", "stage", "global"]


class CompressOptions(Section):
    """Pruning and quantization of the finished students. They are quantized where a profile allows int8."""

    prune: tuple[Share, ...] = (0.5,)
    """Shares of the channels that are removed, one pruned student for each. []: none is pruned."""
    goal: GoalSection | None = None
    """Instead of `prune`: the share that reaches this goal, found by bisection."""
    importance: Importance = "group-norm"
    """By what the channels that go are chosen. `taylor`: by the loss."""
    scope: Scope = "layer"
    """Within which channels are ranked."""
    steps: Annotated[int, Field(ge=1, le=8)] = 1
    """Prune in so many steps, with a little training between them."""
    calibration_images: Positive = 256
    """Training images that set the ranges of int8."""
    int8_drop: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Accuracy that int8 may cost. Beyond it, layers stay in fp32, then weights are trained for int8."""
    qat_epochs: Annotated[int, Field(ge=0, le=10**9)] = 2
    """Epochs of that training (quantization-aware). 0: none."""

    @model_validator(mode="after")
    def _distinct_names(self) -> "CompressOptions":
        if len({f"{ratio:.0%}" for ratio in self.prune}) != len(self.prune):  # a pruned student is named after it
            raise ValueError(f"prune must hold shares that differ in whole per cents, but got {list(self.prune)}")
        return self
