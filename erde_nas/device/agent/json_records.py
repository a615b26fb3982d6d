"""JSON from the other side -> the record that it should be, checked by the record's own annotations.

A record is a dataclass whose fields are numbers, texts, truth values, other records, tuples and dicts of these, or
None. Numbers are counts, times and shares: none is negative, infinite or NaN, unless its type says so.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from erde_nas.errors import UserError

Positive = Annotated[float, "above zero"]
Threshold = Annotated[float, "of a score"]  # which may be negative; infinite: every image leaves
T = TypeVar("T")


class DamagedRecord(UserError):
    """What should be a record is not. The message says where in it, and why."""


def last_object(text: str) -> dict[str, Any]:
    """The last line of JSON that holds an object: a shell or a runtime may print before it, and after it."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return parse(line)
    raise DamagedRecord("there is no line of JSON in it")


def parse(text: str) -> Any:
    """The JSON value of a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(f"it is no JSON, or was cut off ({error})") from error


def read(kind: type[T], value: Any, where: str = "") -> T:
    """`value` as a `kind`. `where` is its place, for the error. Raises DamagedRecord."""
    return cast(T, _read(kind, value, where))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, choices = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # something or None
        (some,) = (choice for choice in choices if choice is not type(None))
        return None if value is None else _read(some, value, where)
    if origin is tuple:
        return _tuple(choices, value, where)
    if origin is dict:
        found = _wanted(isinstance(value, Mapping), value, "an object", where)
        return {key: _read(choices[1], found[key], _at(where, key)) for key in found}
    if is_dataclass(kind):
        return _record(kind, value, where)
    if kind in (str, bool):
        return _wanted(type(value) is kind, value, {str: "a text", bool: "true or false"}[kind], where)
    number, (words, right) = isinstance(value, int | float) and not isinstance(value, bool), NUMBERS[kind]
    return (int if kind is int else float)(_wanted(number and right(value), value, words, where))


LARGEST = 1e300  # an integer of JSON may be larger than any float
NUMBERS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number that is not negative", lambda x: isinstance(x, int) and x >= 0),
    float: ("a number that is not negative", lambda x: 0 <= x <= LARGEST),
    Positive: ("a number above zero", lambda x: 0 < x <= LARGEST),
    Threshold: ("a number", lambda x: abs(x) <= LARGEST or x in (math.inf, -math.inf)),
}


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    found = _wanted(isinstance(value, list | tuple), value, "a list", where)
    each = kinds[:1] * len(found) if kinds[-1] is Ellipsis else kinds
    _wanted(len(each) == len(found), value, f"a list of {len(each)}", where)
    return tuple(_read(kind, x, f"{where}[{i}]") for i, (kind, x) in enumerate(zip(each, found, strict=True)))


def _record(kind: Any, value: Any, where: str) -> Any:
    found = _wanted(isinstance(value, Mapping), value, "an object", where)
    hints, given = _hints(kind), {}
    for field in fields(kind):
        if field.name in found:
            given[field.name] = _read(hints[field.name], found[field.name], _at(where, field.name))
        elif field.default is MISSING:
            raise DamagedRecord(f"{_at(where, field.name)} is missing")
    if unknown := [key for key in found if key not in hints]:
        raise DamagedRecord(f"{_at(where, unknown[0])} is not known")
    return kind(**given)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _wanted(right: bool, value: Any, words: str, where: str) -> Any:
    """The value, where it is right."""
    if not right:
        text = repr(value)
        raise DamagedRecord(f"{where or 'it'} must be {words}, but is {text if len(text) < 40 else text[:36] + ' ...'}")
    return value


def _at(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
