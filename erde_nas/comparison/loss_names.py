"""A loss on the command line: NAME, or NAME:KEY=VALUE,... with keys of the recipe's `distil` section."""

import json
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from erde_nas.errors import UserError
from erde_nas.recipe.distil import LOSSES, NO_TERM, PARTS, DistilSection
from erde_nas.registry import TERMS


def _value(text: str) -> Any:
    """A number, true or false as such, anything else as the text that it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_loss(text: str, base: DistilSection) -> DistilSection:
    """`base` with the named loss and the given keys; what `base` replaces in its own loss is not taken over.

    Raises UserError for an unknown name or key and for a value that does not fit.
    """
    name, _, rest = text.partition(":")
    if name not in LOSSES:
        if why := TERMS.why_left_out(name):
            raise UserError(f"--loss {text}: {why}")
        near = get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "choose one of these"
        raise UserError(f"--loss {text}: there is no loss '{name}', but {', '.join(LOSSES)}; {hint}")
    said = base.model_dump(exclude_unset=True)  # what is not said may come from a preset
    values = {key: value for key, value in said.items() if key not in PARTS} | {"loss": name}
    term = LOSSES[name].term
    inherited = values.pop("options", {})
    options = dict(inherited) if term == base.method.term else {}
    declared = TERMS[term].Options if term != NO_TERM else None
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if equals and declared is not None and key in declared.model_fields:
            options[key] = _value(value)
            continue
        if not equals or key in ("loss", "options") or key not in DistilSection.model_fields:
            keys = [*DistilSection.model_fields, *(declared.model_fields if declared else ())]
            raise UserError(f"--loss {text}: '{item}' sets no key of a recipe's distil section; {_nearest(key, keys)}")
        values[key] = _value(value)
    values |= {"options": options} if options else {}
    try:
        return DistilSection.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        wrong = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        where = ".".join(map(str, first["loc"]))  # none where keys do not go together
        will_not_do = f"{where}={first['input']} will not do: " if where else ""
        raise UserError(f"--loss {text}: {will_not_do}{wrong}") from None


def _nearest(key: str, keys: list[str]) -> str:
    known = [field for field in keys if field not in ("loss", "options")]
    near = get_close_matches(key, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"write KEY=VALUE, with one of {', '.join(known)}"
