"""JSON damaged in every way that may happen to it: for readers that must accept it or say what is wrong."""

import copy

WRONG = (None, "text", "", [], [None], {}, {"key": 1}, -1, -0.5, float("nan"), float("inf"), 10**400, True, 0, 0.5, 7)


def places(value, path=()):
    """The path of every value within a JSON value; of lists the first and the last item."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in dict.fromkeys((0, len(value) - 1)) if value else ():
            yield from places(value[index], (*path, index))


def damaged(value):
    """Copies of a JSON value, each with one key or item left out, or replaced by what does not belong there."""
    for path in places(value):
        *above, last = path or (None,)
        for wrong in WRONG if path else [wrong for wrong in WRONG if not isinstance(wrong, dict)]:
            whole = copy.deepcopy({None: value} if not path else value)
            inner = whole
            for key in above:
                inner = inner[key]
            inner[last] = wrong
            yield f"{path} is {wrong!r:.20}", whole if path else whole[None]
        if path:
            whole = copy.deepcopy(value)
            inner = whole
            for key in above:
                inner = inner[key]
            del inner[last]
            yield f"{path} is left out", whole
            if isinstance(inner, dict):
                inner["unknown"] = 1
                yield f"{path} has another name", whole
