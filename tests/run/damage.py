"""Everything that may have happened to a JSON file: cut short, a key lost, a value of another type."""

import copy
import json
from collections.abc import Iterator
from typing import Any

WRONG = (None, True, -7, 1.5, "x", [], {}, [[]], {"x": 1})


def damaged(content: Any, cuts: int = 40) -> Iterator[str]:
    """Texts in place of the JSON text of `content`, which is an object."""
    text = json.dumps(content, indent=1)
    yield from (text[: len(text) * cut // cuts] for cut in range(cuts))
    yield from ("", "null", "[]", "{}", '"x"', "\x00", "[" * 100_000)
    for path in _places(content):
        for wrong in WRONG:
            yield json.dumps(_with(content, path, wrong))
        yield json.dumps(_with(content, path, None, drop=True))
    yield json.dumps({**content, "from another version": 1})


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is a value: all keys of an object, and the first of an array."""
    keys = value if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from _places(value[key], (*path, key))


def _with(content: Any, path: tuple[Any, ...], value: Any, drop: bool = False) -> Any:
    copied = copy.deepcopy(content)
    at = copied
    for key in path[:-1]:
        at = at[key]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return copied
