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

    prune: tuple[Share, ...] = (0.5,)  # shares of channels removed; one pruned student for each
    goal: GoalSection | None = None  # instead of shares: the share that reaches it, found by bisection
    importance: Importance = "group-norm"  # which channels go; taylor: by the loss
    scope: Scope = "layer"  # within which channels are ranked
    steps: Annotated[int, Field(ge=1, le=8)] = 1  # pruned in so many, with a little training between them
    calibration_images: Positive = 256  # of the training split
    int8_drop: Annotated[float, Field(ge=0, lt=1)] = 0.005  # more accuracy lost: layers stay fp32, then QAT
    qat_epochs: Annotated[int, Field(ge=0, le=10**9)] = (
        2  # of quantization-aware training where fp32 layers do not help; 0: none
    )

    @model_validator(mode="after")
    def _distinct_names(self) -> "CompressOptions":
        if len({f"{ratio:.0%}" for ratio in self.prune}) != len(self.prune):  # a pruned student is named after it
            raise ValueError(f"prune must hold shares that differ in whole per cents, but got {list(self.prune)}")
        return self
