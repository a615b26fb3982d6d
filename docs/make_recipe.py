"""Writes docs/recipe.md and docs/profile.md, the keys of the YAML files: python docs/make_recipe.py"""

import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe

HERE = Path(__file__).parent
INTRODUCTION = """\
# {title}

Made from the schema by `python docs/make_recipe.py`; a test fails when it is out of date.

{more} `{check}` checks a file. All its mistakes are listed
together, with line, key and the nearest valid name. What is not `required` may be left out and has its default then.
`null` means nothing.
"""
PAGES = {
    "recipe.md": (
        Recipe,
        "Recipe",
        "`erde-nas init` writes a recipe for your images.",
        "erde-nas recipes check RECIPE",
    ),
    "profile.md": (
        HardwareProfile,
        "Hardware profile",
        "`erde-nas profiles detect` writes a profile of your machine.",
        "erde-nas profiles check PROFILE",
    ),
}
MORE = {  # section: what says more
    "dataset": "data.md",
    "teacher": "teacher.md",
    "space": "exits.md",
    "distil": "losses.md",
    "train": "teacher.md",
    "search": "search.md",
    "supernet": "supernet.md",
    "finish": "search.md",
    "compress": "compression.md",
    "measure": "measurement.md",
}
WORDS = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
WORDS |= {dict: "keys and values", type(None): "`null`"}
BOUNDS = {
    "range": "{}",
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "multiple_of": "a multiple of {}",
    "min_length": "at least {}",
    "max_length": "at most {}",
}


def render(name: str) -> str:
    """One page, by its file's name."""
    model, title, more, check = PAGES[name]
    return "\n".join([INTRODUCTION.format(title=title, more=more, check=check), *_sections(model)])


def _sections(model: type[BaseModel]) -> Iterator[str]:
    """One table for each section; what several keys hold is said once, at the shortest of them."""
    places: dict[type[BaseModel], list[str]] = {}
    _collect(model, "", places)
    first = {section: min(paths, key=lambda path: path.count(".")) for section, paths in places.items()}
    for section, paths in places.items():
        place = first[section]
        others = [f"`{path}`" for path in paths if path != place]
        text = f"## `{place}`\n\n" if place else "## The file\n\n"
        text += " ".join((section.__doc__ or "").split()) + "\n"
        text += f"The same keys stand in {', '.join(others)}.\n" if others else ""
        text += f"More: [{MORE[place]}]({MORE[place]}).\n" if place in MORE else ""
        hints = typing.get_type_hints(section, include_extras=True)
        rows = [_row(section, key, hints[key], first) for key in section.model_fields]
        yield "\n".join([text, "| key | value | default | meaning |", "|---|---|---|---|", *rows, ""])


def _collect(model: type[BaseModel], path: str, places: dict[type[BaseModel], list[str]]) -> None:
    places.setdefault(model, []).append(path)
    for key, field in model.model_fields.items():
        if (inner := _section_of(field.annotation)) is not None:
            _collect(inner, f"{path}.{key}".removeprefix("."), places)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    found = [a for a in (annotation, *typing.get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
    return found[0] if found else None


def _row(section: type[BaseModel], key: str, hint: Any, first: dict[type[BaseModel], str]) -> str:
    field = section.model_fields[key]
    inner, value = _section_of(field.annotation), _values(hint)
    if inner is not None:
        value = value.replace("section", f"[section](#{first[inner].replace('.', '')})")
    return f"| `{key}` | {value} | {_default(field)} | {meaning(section, key)} |"


def meaning(section: type[BaseModel], key: str) -> str:
    """What is written below the key, in the section or in the one that it extends."""
    fields = (vars(parent).get("__pydantic_fields__", {}).get(key) for parent in section.__mro__)
    return next((field.description for field in fields if field is not None and field.description), "")


def _values(hint: Any) -> str:
    """What a key takes, in words."""
    *others, last = _alternatives(hint)
    comma = "," if any(" or " in text for text in others) else ""
    return f"{', '.join(others)}{comma} or {last}" if others else last


def _alternatives(hint: Any) -> list[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _bounded(hint, *arguments)
    if origin is Literal:
        return [_code(value) for value in arguments]
    if origin in (typing.Union, types.UnionType):
        return [text for part in arguments for text in _alternatives(part)]
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f" ({len(arguments)})"
        return [f"list{count} of {_values(arguments[0])}"]
    return [WORDS.get(hint) or WORDS.get(origin, "section")]


def _bounded(hint: Any, kind: Any, *rules: Any) -> list[str]:
    """A type with its bounds; of a name, what the check itself answers to one that cannot be."""
    if kind is str:
        try:
            TypeAdapter(hint).validate_python("\0", strict=True)
        except ValidationError as error:
            if (choices := re.findall("'([^']+)'", error.errors()[0]["msg"])) and len(choices) > 1:
                return [f"`{name}`" for name in choices]
    given = [part for rule in rules for part in getattr(rule, "metadata", ())]
    found = {key: value for part in given for key in BOUNDS if (value := getattr(part, key, None)) is not None}
    if "ge" in found and "le" in found:
        found = {"range": f"{_number(found.pop('ge'))} to {_number(found.pop('le'))}", **found}
    bounds = ", ".join(BOUNDS[key].format(_number(value)) for key, value in found.items())
    bounds += " character" if kind is str and bounds else ""
    *others, last = _alternatives(kind)
    if bounds and last.startswith("list"):
        return [*others, last.replace("list", f"list ({bounds})", 1)]
    return [*others, f"{last} ({bounds})" if bounds else last]


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,.12g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = {key: getattr(value, key) for key in value.model_fields_set}
        return _code(value) if value else ""
    return _code(value)


def _code(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value).replace('"', "" if value else '"')
    return f"`{text}`"


if __name__ == "__main__":
    for page in PAGES:
        (HERE / page).write_text(render(page))
