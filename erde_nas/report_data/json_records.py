"""Records to JSON and back. What is read is checked: types are never guessed, and damage is one clear error."""

import json
import math
from dataclasses import asdict
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from erde_nas.report_data.point import Point, as_today

R = TypeVar("R")


def to_json(record: Any) -> Any:
    """A frozen dataclass as JSON-ready values. NaN and infinity, which JSON does not know, become None."""
    return finite(asdict(record))


def finite(value: Any) -> Any:
    """JSON-ready values with None for NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(kind: type[R], value: Any) -> R:
    """The inverse of `to_json`: a record with points, or a point, of this version or an earlier one.

    Keys that it does not know are left out. Raises ValueError (pydantic's ValidationError) for anything else.
    """
    today = as_today(value) if kind is Point else _with_points_as_today(value)
    adapter: TypeAdapter[R] = _adapter(cast(Any, kind))
    return adapter.validate_json(json.dumps(today), strict=True)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _with_points_as_today(value: Any) -> Any:
    """`teacher`, `baselines` and `points`, wherever they are there, with today's fields; the rest as it is."""

    def today(found: Any) -> Any:
        return [today(item) for item in found] if isinstance(found, list) else as_today(found)

    if not isinstance(value, dict):
        return value
    return {key: today(item) if key in ("teacher", "baselines", "points") else item for key, item in value.items()}
