"""The `compress` section of a recipe, but for its training: how students are pruned and quantized, and towards what."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from erde_nas.errors import UserError
from erde_nas.section import Section

EXAMPLES = {
    "latency_ms": "latency_ms=0.05",
    "speedup": "speedup=10",
    "size_kb": "size_kb=100",
    "accuracy_drop": "accuracy_drop=0.01",
}
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class GoalSection(Section):
    """What a compressed student must reach; all that is given counts. The teacher is the fp32 one without early exits,
    in the same runtime and profile."""

    latency_ms: Above | None = None  # measured mean at most
    speedup: Above | None = None  # teacher's measured mean latency over the student's, at least
    size_kb: Above | None = None  # of the file, 1000 bytes each, at most
    accuracy_drop: Annotated[float, Field(ge=0, lt=1)] | None = None  # below the teacher's, on validation, at most

    @model_validator(mode="after")
    def _something(self) -> "GoalSection":
        if not self.wanted:
            raise ValueError(f"a goal needs at least one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def wanted(self) -> dict[str, float]:
        """What is given."""
        return {key: value for key, value in self.model_dump().items() if value is not None}

    @property
    def needs_no_training(self) -> bool:
        """Whether an architecture alone can be held against it, in part at least: latency and size need no weights."""
        return any(key != "accuracy_drop" for key in self.wanted)


def parse_goal(texts: Sequence[str]) -> GoalSection:
    """`latency_ms=0.05` and the like -> the goal. Raises UserError for an unknown key, no number, or one twice."""
    known = ", ".join(GoalSection.model_fields)
    values: dict[str, float] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in GoalSection.model_fields or key in values:
            if key in values:
                raise UserError(f"--target {text}: '{key}' is given twice; give it once")
            example = EXAMPLES["latency_ms"]
            raise UserError(f"--target {text}: '{key}' is none of {known}; give for example --target {example}")
        try:
            values[key] = float(value)
        except ValueError:
            raise UserError(
                f"--target {text}: '{value}' is no number; give for example --target {EXAMPLES[key]}"
            ) from None
    try:
        return GoalSection(**values)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        must = (
            "must be a share from 0 to below 1: 0.01 is one point of accuracy"
            if key == "accuracy_drop"
            else "must be a finite number above 0"
        )
        raise UserError(
            f"--target {key}={values[key]:g}: {key} {must}; give for example --target {EXAMPLES[key]}"
        ) from None


class CompressOptions(Section):
    """Pruning and quantization of the finished students. They are quantized where a profile allows int8."""

    prune: tuple[Share, ...] = (0.5,)  # shares of channels removed; one pruned student for each
    goal: GoalSection | None = None  # instead of shares: the share that reaches it, found by bisection
    importance: Literal["magnitude", "group-norm", "taylor"] = "group-norm"  # which channels go; taylor: by the loss
    scope: Literal["layer", "stage", "global"] = "layer"  # within which channels are ranked
    steps: Annotated[int, Field(ge=1, le=8)] = 1  # pruned in so many, with a little training between them
    calibration_images: Positive = 256  # of the training split
    int8_drop: Annotated[float, Field(ge=0, lt=1)] = 0.005  # more accuracy lost: layers stay fp32, then QAT
    qat_epochs: Annotated[int, Field(ge=0)] = 2  # of quantization-aware training where fp32 layers do not help; 0: none

    @model_validator(mode="after")
    def _distinct_names(self) -> "CompressOptions":
        if len({f"{ratio:.0%}" for ratio in self.prune}) != len(self.prune):  # a pruned student is named after it
            raise ValueError(f"prune must hold shares that differ in whole per cents, but got {list(self.prune)}")
        return self
