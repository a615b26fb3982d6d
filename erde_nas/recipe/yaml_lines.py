"""YAML file -> plain values, and the line of every key. `strict_yaml.py` checks what they mean.

Scalars are read by the rules of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), not PyYAML's 1.1: `1e-3` is
a number, `no` is a text and `010` is ten. Two differences: digits may be grouped, as in `10_000_000`, and infinity and
NaN are texts. Aliases and other tags are refused, so that the values are never more than what the file spells out.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from erde_nas.errors import UserError

Loc = tuple[str | int, ...]  # the keys and list indices that lead to a value

MAX_BYTES = 1_000_000
MAX_DEPTH = 30
CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong with the value at `loc`, and what to do. Lines count from 1."""

    line: int
    loc: Loc = field(compare=False)
    text: str = field(compare=False)


@dataclass(frozen=True)
class Document:
    """The values of a file, the line of every key path in it (the first for the root), and what could not be read."""

    values: Any
    lines: dict[Loc, int]
    problems: tuple[Problem, ...]


def read_yaml(path: Path) -> Document:
    """Read one file. Raises UserError where it cannot be read, is empty or is no YAML."""
    root = _compose(path, _text(path))
    reader = _Reader()
    return Document(reader.value(root, ()), reader.lines, tuple(reader.problems))


class _Loader(yaml.SafeLoader):
    """Composes nodes with the core schema of YAML 1.2, without aliases."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's interface)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor} is not read", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


_DIGITS = r"[0-9]+(?:_[0-9]+)*"
for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": rf"[-+]?{_DIGITS}|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}(?:\.(?:{_DIGITS})?)?)(?:[eE][-+]?[0-9]+)?",
}.items():
    _Loader.add_implicit_resolver(CORE + _tag, re.compile(rf"(?:{_pattern})\Z"), None)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path and the folder you are in") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name a .yaml file in it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES:,} bytes; check that it is the right file")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: is not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8") from None


def _compose(path: Path, text: str) -> yaml.Node:
    """The file's node tree. Raises UserError where it is no YAML."""
    line, step = 1, "correct it"
    try:
        root = _Loader(text).get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"character {chr(error.character)!r} is not allowed in YAML"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = " ".join(part for part in ("YAML error", error.context, error.problem) if part)
        step = "correct this line or the one before"
    except RecursionError:
        what, step = "is nested too deeply", f"at most {MAX_DEPTH} levels are read"
    except (ValueError, OverflowError) as error:  # PyYAML lets chr() fail on an escape beyond Unicode
        what = f"has an invalid escape ({error})"
    else:
        if root is not None and not (isinstance(root, yaml.ScalarNode) and root.tag == CORE + "null"):
            return root
        what, step = "is empty", "start from a shipped file ('erde-nas recipes list', 'erde-nas profiles list')"
    raise UserError(f"{path}:{line}: {what}; {step}")


class _Reader:
    """Turns nodes into values and collects lines and problems on the way."""

    def __init__(self) -> None:
        self.lines: dict[Loc, int] = {(): 1}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        line = node.start_mark.line + 1
        if len(loc) > MAX_DEPTH:
            self.problems.append(Problem(line, loc[:3], f"is nested too deeply; at most {MAX_DEPTH} levels are read"))
            return None
        if isinstance(node, yaml.SequenceNode) and node.tag == CORE + "seq":
            self.lines.update({(*loc, i): item.start_mark.line + 1 for i, item in enumerate(node.value)})
            return [self.value(item, (*loc, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == CORE + "map":
            return dict(self.items(node, loc))
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node.tag.removeprefix(CORE), node.value)
            except (ValueError, KeyError):
                pass  # reported with the tags that are not read
        what = f"cannot be read as {node.tag.removeprefix(CORE)}"
        self.problems.append(Problem(line, loc, f"{what}; write a plain value"))
        return None

    def items(self, node: yaml.MappingNode, loc: Loc) -> Iterator[tuple[str, Any]]:
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or not key.value.isprintable():
                self.problems.append(Problem(line, loc, "has a key that is not plain text; write a word"))
                continue
            below = (*loc, key.value)
            if below in self.lines:
                text = f"is given twice, first in line {self.lines[below]}; remove one"
                self.problems.append(Problem(line, below, text))
                continue
            self.lines[below] = line
            yield key.value, self.value(value, below)


def _scalar(kind: str, text: str) -> str | int | float | bool | None:
    """The value of a scalar. Raises KeyError for a kind outside the core schema, ValueError for an unfit text."""
    if kind == "str":
        text.encode()  # half a surrogate pair can be neither stored nor printed
        return text
    plain = text.lower().replace("_", "")
    if kind == "int":
        return int(plain, base={"0o": 8, "0x": 16}.get(plain[:2], 10))
    if kind == "float":
        number = float(plain)
        if math.isinf(number):
            raise ValueError(f"{text} is beyond the range of a float")
        return number
    constants: dict[str, dict[str, bool | None]] = {
        "null": {"~": None, "null": None, "": None},
        "bool": {"true": True, "false": False},
    }
    return constants[kind][plain]
