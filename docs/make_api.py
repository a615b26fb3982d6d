"""Writes docs/api.md, the reference of the Python API, from signatures and docstrings: python docs/make_api.py"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import erde_nas
from erde_nas.api import compare, init, inputs, measure, predict, progress, run, student, train, verify
from erde_nas.distil import losses
from erde_nas.networks.own import cuts
from erde_nas.networks.own import network as own_network
from erde_nas.report_data import goal, latency, point, report

PAGE = Path(__file__).with_name("api.md")
INTRODUCTION = """\
# Python

Made from signatures and docstrings by `python docs/make_api.py`; a test fails when it is out of date.

    import erde_nas

    run = erde_nas.search("quickstart", "runs/quickstart", progress=True)
    best = run.best(max_drop=0.01)  # the fastest student within a point of the teacher's accuracy
    best.predict("photos")
    best.export("shipped")

[examples/quickstart.ipynb](../examples/quickstart.ipynb) does this step by step. Importing `erde_nas` takes a moment:
torch is loaded when something is trained. Every function raises `erde_nas.UserError` for a mistake in what was given,
with the message that the command line prints. What they return shows itself as a table, in terminals and notebooks.
"""
FUNCTIONS = (
    *("search", "plan", "load_run", "init", "compare", "compress", "exits", "export"),
    *("predict", "verify", "measure", "train", "own"),
)
RECORDS = (
    run.Run,
    student.Student,
    goal.GoalOutcome,
    predict.Answer,
    measure.Measurements,
    measure.Measurement,
    compare.RunComparison,
    init.Suggestion,
    verify.Verification,
    verify.Verified,
    train.Comparison,
    train.SeedResult,
    own_network.OwnNetwork,
    cuts.Cut,
    report.Report,
    point.Point,
    latency.Latency,
    erde_nas.UserError,
    erde_nas.SearchInterrupted,
)
LOSSES = (losses.erde_loss, losses.kd_loss, losses.entropy_adaptive_weight)
LINE = 100  # characters of a signature, before every parameter gets a line
TYPES = (
    (inputs, ("RecipeLike", "ProfileLike", "Profiles", "Data")),
    (predict, ("Images",)),
    (progress, ("Progress",)),
)


def render() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Functions\n"]
    parts += [_callable(getattr(erde_nas, name), f"erde_nas.{name}") for name in FUNCTIONS]
    parts += ["## What is taken\n", *(_alias(module, name) for module, names in TYPES for name in names), ""]
    parts += ["## What is given\n", *map(_record, RECORDS)]
    parts += ["## Losses\n", "`erde_nas.distil.losses`; logits and labels are tensors of torch.\n"]
    parts += [_callable(function, f"erde_nas.distil.losses.{function.__name__}") for function in LOSSES]
    parts += ["## Front maths\n", f"`erde_nas.pareto`. {inspect.getdoc(erde_nas.pareto)}\n"]
    fronts = inspect.getmembers(erde_nas.pareto, lambda thing: inspect.getmodule(thing) is erde_nas.pareto)
    fronts = [(name, thing) for name, thing in fronts if inspect.isfunction(thing) and not name.startswith("_")]
    parts += [_callable(function, f"erde_nas.pareto.{name}") for name, function in fronts]
    return "\n".join(parts).rstrip() + "\n"


def _callable(function: Any, name: str) -> str:
    return f"### `{name}`\n\n{_code(_signature(_node(function), name))}\n\n{_prose(function)}\n"


def _node(thing: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def _signature(node: ast.FunctionDef, name: str) -> str:
    """As it is written, with one parameter a line where it is long."""
    returns = f" -> {_plain(node.returns)}" if node.returns else ""
    positional, named = node.args.args, node.args.kwonlyargs
    defaults = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    parts = [_parameter(*pair) for pair in zip(positional, defaults, strict=True)]
    parts += ["*"] if named else []
    parts += [_parameter(*pair) for pair in zip(named, node.args.kw_defaults, strict=True)]
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= LINE:
        return line
    body = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{body}){returns}"


def _parameter(parameter: ast.arg, default: ast.expr | None) -> str:
    return _plain(parameter) + (f" = {_plain(default)}" if default is not None else "")


def _plain(node: ast.AST) -> str:
    """The source, with types that are written as texts like all others."""
    for part in ast.walk(node):
        annotation = getattr(part, "annotation", None)
        if isinstance(annotation, ast.Constant):
            part.annotation = ast.parse(str(annotation.value), mode="eval").body  # type: ignore[attr-defined]
    return ast.unparse(node).replace("'", '"')


def _alias(module: Any, name: str) -> str:
    """A name for several types, as it is written, and what is said below it."""
    body = ast.parse(inspect.getsource(module)).body
    at = next(i for i, n in enumerate(body) if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == name)
    value = body[at].value  # type: ignore[attr-defined]
    written = value.value if isinstance(value, ast.Constant) else ast.unparse(value)
    below = body[at + 1].value if isinstance(body[at + 1], ast.Expr) else None  # type: ignore[attr-defined]
    said = f": {' '.join(below.value.split())}" if isinstance(below, ast.Constant) else ""
    return f"- `{name} = {written}`{said}"


def _record(record: type) -> str:
    """A class: what it is, its fields, and what it can do."""
    node = _node(record)
    lines = [f"### `{record.__name__}`", _prose(record)]
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and not ast.unparse(n.target).startswith("_")]
    lines += [_code("\n".join(map(_plain, fields)))] if fields else []
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and method.name != "cells":
            lines.append(_method(record, method))
    return "\n\n".join(lines) + "\n"


def _method(record: type, node: Any) -> str:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    found = inspect.getattr_static(record, node.name)
    if any("property" in decorator for decorator in decorators):
        return f"#### `.{node.name}`\n\n{_code(f'.{node.name} -> {_plain(node.returns)}')}\n\n{_prose(found)}"
    if "staticmethod" not in decorators:
        node.args.args = node.args.args[1:]  # without self
    return f"#### `.{node.name}`\n\n{_code(_signature(node, f'.{node.name}'))}\n\n{_prose(found)}"


def _code(text: str) -> str:
    return textwrap.indent(text, "    ")


def _prose(thing: Any) -> str:
    """The docstring, with its sections as lists."""
    return "\n".join(_lines((inspect.getdoc(thing) or "").splitlines()))


def _lines(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line in ("Args:", "Returns:", "Raises:"):
            yield f"*{line.removesuffix(':').replace('Args', 'Parameters')}*\n"
        elif entry := re.fullmatch(r" {4}(\w+): (.*)", line):
            yield f"- `{entry[1]}`: {entry[2]}"
        elif line.startswith("        "):
            yield line[6:]
        else:
            yield line.strip()


if __name__ == "__main__":
    PAGE.write_text(render())
