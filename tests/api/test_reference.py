"""docs/api.md is what `python docs/make_api.py` writes, and names everything that is public."""

import inspect
import runpy
from pathlib import Path

import erde_nas

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_up_to_date():
    made = runpy.run_path(str(DOCS / "make_api.py"))["render"]()
    assert (DOCS / "api.md").read_text() == made, "run: python docs/make_api.py"


def test_it_names_every_function_and_each_of_its_parameters():
    text = (DOCS / "api.md").read_text()
    for name in erde_nas.__all__:
        function = getattr(erde_nas, name)
        if not inspect.isfunction(function):
            assert name in text
            continue
        section = text.split(f"### `erde_nas.{name}`\n")[1].split("\n### ")[0]
        for parameter in inspect.signature(function).parameters:
            documented = f"- `{parameter}`:" in section
            assert documented or name == "load_run", (name, parameter)
        assert "UserError" in section, name
