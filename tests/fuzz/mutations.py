"""What may have happened to a file, as strategies of hypothesis: bytes lost, changed and repeated, values of JSON that
do not belong there. A mutation is a value, so that hypothesis can repeat and shrink it."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

LONG = 10**5000  # more digits than Python turns into a number by itself
WRONG = (
    *(None, True, False, 0, 1, -1, -0.5, 0.5, 7, 2**31, 2**63, 10**20, 10**400, 1e-320, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf"), "", "text", "\udcff", "\x1b[2J", "a" * 5000, "../../x", "~nobody/x"),
    *([], [None], [[]], [0.5, 0.5], ["a"], {}, {"key": 1}, {"": None}, "LONG"),
)
WORDS = (
    b"",
    b"\x00",
    b"\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xff" * 8,
    b"{",
    b"]",
    b'"',
    b"-",
    b"9" * 20,
)
Mutation = Callable[[bytes], bytes]


def _byte_mutation(draw: st.DrawFn) -> Mutation:
    kind = draw(st.sampled_from(("flip", "put", "cut", "drop", "repeat", "swap", "end")))
    place, length = draw(st.integers(0, 2**20)), draw(st.sampled_from((1, 2, 4, 8, 64, 1000, 20000)))
    word, bit = draw(st.sampled_from(WORDS)), draw(st.integers(0, 7))
    if draw(st.booleans()):
        place %= 2000  # headers decide more than what follows them

    def mutate(data: bytes) -> bytes:
        at = place % (len(data) + 1)
        before, inside, after = data[:at], data[at : at + length], data[at + length :]
        if kind == "flip" and inside:
            return before + bytes([inside[0] ^ 1 << bit]) + inside[1:] + after
        if kind == "put":
            return before + word + data[at + len(word) :]
        if kind == "cut":
            return before
        if kind == "drop":
            return before + after
        if kind == "repeat":
            return before + inside * (bit + 2) + after
        return after + inside + before if kind == "swap" else data + inside + word

    return mutate


@st.composite
def changed_bytes(draw: st.DrawFn, seeds: tuple[bytes, ...], most: int = 3) -> bytes:
    """One of the seeds after one to `most` mutations."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, most))):
        data = _byte_mutation(draw)(data)
    return data


@st.composite
def changed_value(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one to three places replaced, left out, renamed or repeated."""
    whole = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(1, 3))):
        inner, key = whole, 0
        while isinstance(inner[key], dict | list) and inner[key] and draw(st.integers(0, 9)):
            inner = inner[key]
            key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        kind = draw(st.sampled_from(("replace", "replace", "replace", "drop", "rename", "repeat", "scale")))
        if kind == "drop" and inner is not whole:
            del inner[key]
        elif kind == "rename" and isinstance(inner, dict):
            inner[key + "x"] = inner.pop(key)
        elif kind == "repeat" and isinstance(inner, list):
            inner.extend([inner[key]] * draw(st.sampled_from((1, 2, 100))))
        elif kind == "scale" and type(inner[key]) in (int, float):
            inner[key] *= draw(st.sampled_from((-1, 0, 2, 10**6, 10**30)))
        else:
            inner[key] = copy.deepcopy(draw(st.sampled_from(WRONG)))
    return whole[0]


def as_text(value: Any) -> str:
    """JSON as Python writes it, NaN and infinity included, and numbers that it would not write."""
    return json.dumps(value, indent=1).replace('"LONG"', "1" * 5000)


def changed_json(value: Any) -> st.SearchStrategy[bytes]:
    """The JSON of a value that was changed, or the text of it."""
    text = json.dumps(value, indent=1).encode()
    odd = (
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"\x00",
        b"[" * 100_000,
        b'{"schema": 2}',
        b"\xff\xfe{\x00}\x00",
        b"1" * 9999,
    )
    return st.one_of(
        changed_value(value).map(lambda found: as_text(found).encode("utf-8", "surrogatepass")),
        changed_value(value).map(lambda found: as_text(found).encode("utf-8", "surrogatepass")),
        changed_bytes((text,)),
        st.sampled_from(odd),
    )
