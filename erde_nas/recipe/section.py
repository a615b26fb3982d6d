"""The base of every part of a YAML file."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A strict, frozen part of a recipe.

    Keys in `later` came after the first runs were kept: a dump leaves them out where they have their default, so that
    whatever is found by a hash of the section (a cached teacher, a run that is continued) is found again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self._without_later(handler(self))

    def _without_later(self, values: dict[str, Any]) -> dict[str, Any]:
        fields = type(self).model_fields
        return {k: v for k, v in values.items() if k not in self.later or getattr(self, k) != fields[k].default}
