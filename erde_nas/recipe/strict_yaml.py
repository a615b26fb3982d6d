"""YAML file -> checked pydantic model; every problem of a file is reported at once, with its line and the next step."""

import json
import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from erde_nas.errors import UserError
from erde_nas.recipe.yaml_lines import Document, Loc, Problem, read_yaml

M = TypeVar("M", bound=BaseModel)

# What to do about an error, by pydantic's error type (https://docs.pydantic.dev/latest/errors/validation_errors/).
NEXT_STEP = {
    "int_type": "write digits without quotes",
    "int_from_float": "leave out the point",
    "float_type": "write a number without quotes",
    "bool_type": "write it without quotes",
    "string_type": "put numbers and true or false in quotes",
    "tuple_type": "write a list, such as [a, b]",
    "model_type": "write its keys below it, indented, or remove it",
    "multiple_of": "round it",
    "literal_error": "choose one of these",
}

# Pydantic speaks of JSON, the user wrote YAML.
WORDING = {
    "a valid integer": "a whole number",
    "a valid array": "a list",
    "a valid ": "a ",
    "a boolean": "true or false",
    "a string": "a text",
    "an object": "a section of keys",
}


def load_strict(path: Path, model: type[M]) -> M:
    """Read `path` and check it against `model`.

    Raises UserError whose lines read `FILE:LINE: key.path: what is wrong (value got); next step`.
    """
    return _checked(read_yaml(path), model, lambda problem: f"{path}:{problem.line}")


def check_strict(values: Mapping[str, Any], model: type[M], name: str) -> M:
    """Check values that come from no file, with the errors of one: `name` stands where a file's name would.

    Tuples count as lists, and paths as texts. Raises UserError with all problems.
    """
    try:
        plain = json.loads(json.dumps(values, default=_plain))
    except TypeError as error:
        raise UserError(f"{name}: {error}; use texts, numbers, true or false, lists and dictionaries") from None
    return _checked(Document(plain, {(): 1}, ()), model, lambda problem: name)


def _plain(value: object) -> object:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _checked(document: Document, model: type[M], where: Callable[[Problem], str]) -> M:
    problems = list(document.problems)
    checked: M | None = None
    if isinstance(document.values, dict):
        try:
            # Strict JSON converts what YAML needs and no more: a list is a tuple, 1 is a float, but "1" is no number.
            checked = model.model_validate_json(json.dumps(document.values), strict=True)
        except ValidationError as error:
            problems += [_problem(e, model, document) for e in error.errors(include_url=False)]
    else:
        got = _show(document.values)
        problems.append(Problem(1, (), f"should hold keys and values (got {got}); write lines such as 'name: mine'"))
    if checked is None or problems:
        raise UserError("\n".join(f"{where(p)}: {_key(p.loc)}{p.text}" for p in sorted(problems)))
    return checked


def _problem(error: ErrorDetails, model: type[BaseModel], document: Document) -> Problem:
    """One pydantic error in the user's terms, at the line of the innermost key that the file has."""
    loc, kind = error["loc"], error["type"]
    line = next(document.lines[loc[:n]] for n in range(len(loc), -1, -1) if loc[:n] in document.lines)
    if kind == "extra_forbidden":
        keys = sorted(_model_at(model, loc[:-1]).model_fields)
        return Problem(line, loc, f"is not a key here; {_nearest(str(loc[-1]), keys) or 'use ' + ', '.join(keys)}")
    if kind == "missing":
        return Problem(line, loc, "is missing; add it")
    if kind == "value_error":  # of a validator of ours, which names the values and the remedy itself
        return Problem(line, loc, error["msg"].removeprefix("Value error, "))
    should = error["msg"].replace("Input should", "should")
    for theirs, ours in WORDING.items():
        should = should.replace(theirs, ours)
    choices = re.findall(r"'([^']*)'", should) if kind == "literal_error" else []
    step = _nearest(str(error["input"]), choices) or NEXT_STEP.get(kind, "choose another value")
    return Problem(line, loc, f"{should} (got {_show(error['input'])}); {step}")


def _nearest(word: str, choices: list[str]) -> str:
    match = get_close_matches(word, choices, n=1)
    return f"did you mean '{match[0]}'?" if match else ""


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel]:
    """The model that checks the mapping at `loc`. An index keeps the model: lists of models are unwrapped with it."""
    for part in loc:
        if isinstance(part, str):
            annotation: Any = model.model_fields[part].annotation
            while not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
                annotation = get_args(annotation)[0]
            model = annotation
    return model


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _key(loc: Loc) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return f"{path.removeprefix('.')}: " if loc else ""
