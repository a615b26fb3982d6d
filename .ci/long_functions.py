"""Fails where a function has more than 45 lines, its docstring aside, and no reason: `# long: why` beside its `def`.

Ruff counts statements and parameters, but no lines. It takes the folders to look into: .ci/long_functions.py erde_nas
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MOST = 45


def long_functions(path: Path) -> Iterator[str]:
    """A message for each, with its place."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            described = node.body[0] if ast.get_docstring(node) is not None else None
            length = _lines(node) - (_lines(described) if described else 0)
            if length > MOST and "# long: " not in lines[node.lineno - 1]:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, more than {MOST}; make it two functions"


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


if __name__ == "__main__":
    paths = [path for folder in sys.argv[1:] for path in sorted(Path(folder).rglob("*.py"))]
    sys.exit("\n".join(message for path in paths for message in long_functions(path)) or 0)
