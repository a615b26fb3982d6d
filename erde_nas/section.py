"""The base of every part of a YAML file."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A strict, frozen part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
