"""Records to JSON and back. What is read is checked: types are never guessed, and damage is one clear error."""

import json
import math
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from erde_nas.errors import UserError
from erde_nas.front.point import Point, as_today

R = TypeVar("R")


def to_json(record: Any) -> Any:
    """A frozen dataclass as JSON-ready values. NaN and infinity, which JSON does not know, become None."""
    return _finite(asdict(record))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(kind: type[R], value: Any) -> R:
    """The inverse of `to_json`: a record with points, or a point, of this version or an earlier one.

    Keys that it does not know are left out. Raises ValueError that names the first bad key, what is wrong with it, and
    how many more there are.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it must be an object, but is {json.dumps(value)[:40]}")
    try:
        today = as_today(value) if kind is Point else _with_points_as_today(value)
        adapter: TypeAdapter[R] = _adapter(cast(Any, kind))
        return adapter.validate_json(json.dumps(today), strict=True)
    except ValidationError as error:
        first, count = error.errors(include_url=False, include_input=False)[0], error.error_count()
        where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        more = f", and {count - 1} more" if count > 1 else ""
        raise ValueError(f"{where}{first['msg'].removeprefix('Value error, ')}{more}") from error


def read_record(path: Path, kind: type[R], remedy: str, schema: int | None = None) -> R:
    """The record in a JSON file. Raises UserError, which ends in `remedy`, where the file holds anything else.

    `schema` is the newest that is known; a file with a higher one is refused as such.
    """
    try:
        value = json.loads(path.read_bytes())
        found = value.get("schema") if isinstance(value, dict) else None
        if schema is not None and isinstance(found, int) and found > schema:
            raise UserError(
                f"{path} has schema {found}, of a newer version of erde-nas; this one reads schema {schema}: update it"
            )
        return from_json(kind, value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _with_points_as_today(value: dict[str, Any]) -> dict[str, Any]:
    """`teacher`, `baselines` and `points`, wherever they are there, with today's fields; the rest as it is."""

    def today(found: Any) -> Any:
        if isinstance(found, list):
            return [today(item) for item in found]
        return as_today(found) if isinstance(found, dict) else found

    return {key: today(item) if key in ("teacher", "baselines", "points") else item for key, item in value.items()}
