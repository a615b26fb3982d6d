"""examples/quickstart.ipynb runs from its first cell to its last, and what it shows are tables of students.

Its code is run as a kernel runs it, without one: cell by cell in one namespace of a fresh interpreter, where the last
expression of a cell is shown as HTML if it can be.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
KERNEL = """
import ast, json, sys
names = {"__name__": "__main__"}
for source in json.load(open(sys.argv[1])):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        html = getattr(value, "_repr_html_", None)
        print(html() if html else repr(value))
"""


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if "outputs" in cell)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a search, where other programs may keep the machine busy
def test_it_runs(tmp_path):
    (tmp_path / "cells.json").write_text(json.dumps(code_cells()))
    environment = {**os.environ, "ERDE_NAS_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, str(tmp_path / "cells.json")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a search is silent where nobody asks for progress"
    assert done.stdout.count("<table>") == 5, "the run, its front, the best student, its latency, answers"
    right = float(done.stdout.split("right: ")[1].split()[0])
    assert right > 0.6, "answers are those of a trained student"
    assert "'student.json'" in done.stdout
