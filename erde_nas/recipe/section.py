"""The base of every part of a YAML file."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import PydanticKnownError

from erde_nas.registry import Registry

Positive = Annotated[int, Field(ge=1, le=10**9)]  # what is counted; beyond that a number is a slip of the hand
Depth = Annotated[int, Field(ge=1, le=1000)]  # blocks of a stage
MOST_STAGES = 16
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def one_of(names: Collection[str] | Registry[Any], *more: str, of: Registry[Any] | None = None) -> BeforeValidator:
    """What a value must be: one of `names` or `more`. They are looked at anew each time, for plug-ins may add some.

    `of` is the registry that `names` come from, where they are not one themselves: it knows why a plug-in is left out.
    """
    registry = names if isinstance(names, Registry) else of

    def check(value: Any) -> Any:
        if isinstance(value, str) and (value in more or value in names):
            return value
        if registry is not None and (why := registry.why_left_out(value)):
            raise ValueError(why)
        *others, last = map(repr, (*more, *names))
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}" if others else last})

    return BeforeValidator(check)


class Section(BaseModel):
    """A strict, frozen part of a recipe.

    Keys in `later` came after the first runs were kept: a dump leaves them out where they have their default, so that
    whatever is found by a hash of the section (a cached teacher, a run that is continued) is found again.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self._without_later(handler(self))

    def _without_later(self, values: dict[str, Any]) -> dict[str, Any]:
        fields = type(self).model_fields
        default = {key: fields[key].get_default(call_default_factory=True) for key in self.later}
        return {k: v for k, v in values.items() if k not in self.later or getattr(self, k) != default[k]}
