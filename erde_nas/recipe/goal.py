"""What a compressed student must reach: the `goal` of a recipe, or `--target KEY=VALUE`."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from erde_nas.errors import UserError
from erde_nas.recipe.section import Section

EXAMPLES = {
    "latency_ms": "latency_ms=0.05",
    "speedup": "speedup=10",
    "size_kb": "size_kb=100",
    "accuracy_drop": "accuracy_drop=0.01",
}


Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class GoalSection(Section):
    """What a compressed student must reach; all that is given counts. The teacher is the fp32 one without early exits,
    in the same runtime and profile."""

    latency_ms: Above | None = None
    """Measured mean latency, at most."""
    speedup: Above | None = None
    """The teacher's measured mean latency over the student's, at least."""
    size_kb: Above | None = None
    """Of the file, at most; 1000 bytes each."""
    accuracy_drop: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Accuracy lost on validation, at most. 0.01 is one point."""

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


LEAST_DROP = 0.01  # of accuracy: what a miss is held against where less is allowed


UNITS = {"latency_ms": "{:.3g} ms", "speedup": "{:.3g}x", "size_kb": "{:.4g} kB"}


def misses(reached: Mapping[str, float], goal: GoalSection) -> dict[str, float]:
    """By how much of itself each wanted value that is known is missed; at most 0 where it is reached."""
    found = {}
    for key, wanted in goal.wanted.items():
        if key not in reached:
            continue
        if key == "speedup":
            found[key] = wanted / reached[key] - 1
        elif key == "accuracy_drop":
            found[key] = (reached[key] - wanted - 1e-9) / max(wanted, LEAST_DROP)
        else:
            found[key] = reached[key] / wanted - 1
    return found


def describe(reached: Mapping[str, float], goal: GoalSection) -> str:
    """The values and, beside each, what was wanted: "0.12 ms (wanted: 0.1 ms)"."""
    wanted = goal.wanted
    return ", ".join(
        _in_words(key, value) + (f" (wanted: {_wanted(key, wanted[key])})" if key in wanted else "")
        for key, value in reached.items()
    )


def _in_words(key: str, value: float) -> str:
    """A value with its unit; accuracy as how many points it is below or above the teacher's."""
    if key != "accuracy_drop":
        return UNITS[key].format(value)
    if abs(value) < 5e-5:
        return "as accurate as the teacher"
    return f"{abs(value) * 100:.2f} points {'below' if value > 0 else 'above'} the teacher"


def _wanted(key: str, value: float) -> str:
    return f"at most {value * 100:.4g} below" if key == "accuracy_drop" else UNITS[key].format(value)
