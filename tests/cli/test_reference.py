"""docs/cli.md is what `python docs/make_cli.py` writes, and says everything."""

import runpy
from pathlib import Path

import typer

from erde_nas.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_up_to_date():
    made = runpy.run_path(str(DOCS / "make_cli.py"))["render"]()
    assert (DOCS / "cli.md").read_text() == made, "run: python docs/make_cli.py"


def test_the_reference_names_every_command_and_parameter():
    text = (DOCS / "cli.md").read_text()

    def walk(command, name):
        assert f"`{name}`" in text
        for parameter in command.params:
            assert parameter.help in text
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{option}" in text
        for child_name, child in getattr(command, "commands", {}).items():
            walk(child, f"{name} {child_name}")

    walk(typer.main.get_command(app), "erde-nas")
