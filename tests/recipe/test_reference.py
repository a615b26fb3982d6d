"""docs/recipe.md and docs/profile.md are what `python docs/make_recipe.py` writes, and say what every key means."""

import runpy
from pathlib import Path

import pytest
from pydantic import BaseModel

from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGES = ("recipe.md", "profile.md")
MADE = runpy.run_path(str(ROOT / "docs" / "make_recipe.py"))


def rows(text):
    """{heading: {key: the other cells}} of a page's tables."""
    found = {}
    for part in text.split("\n## ")[1:]:
        lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
        found[part.splitlines()[0].strip("`")] = {key.strip("`"): cells for key, *cells in lines}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_is_up_to_date(page):
    assert (ROOT / "docs" / page).read_text() == MADE["render"](page), "run: python docs/make_recipe.py"


@pytest.mark.parametrize(("page", "model"), [("recipe.md", Recipe), ("profile.md", HardwareProfile)])
def test_every_key_has_a_meaning(page, model):
    tables = rows((ROOT / "docs" / page).read_text())
    keys = {key for table in tables.values() for key in table}

    def walk(section):
        for key, field in section.model_fields.items():
            assert key in keys
            for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    walk(inner)

    walk(model)
    for place, table in tables.items():
        for key, cells in table.items():
            assert cells[2].endswith("."), f"{place}.{key} needs a sentence in a docstring below it"


def test_values_and_defaults_by_hand():
    tables = rows((ROOT / "docs" / "recipe.md").read_text())
    sizes = "whole number (8 to 512), list (2) of whole number (8 to 512) or `null`"
    assert tables["dataset"]["image_size"][:2] == [sizes, "`null`"]
    assert tables["views"]["flip"][:2] == ["`true` or `false`, or `alternating`", "`false`"]
    assert tables["teacher"]["train"][:2] == ["[section](#train)", "`{epochs: 30}`"]
    assert tables["space"]["depths"][:2] == ["list (at most 16) of list of whole number (1 to 1,000)", "`[]`"]
    assert tables["distil"]["mld_levels"][:2] == ["list (3) of number (at least 0)", "`[1.5, 0.5, 0.5]`"]
    assert tables["train"]["epochs"][1] == "required"
    profile = rows((ROOT / "docs" / "profile.md").read_text())["The file"]
    assert profile["device"][:2] == ["`cpu` or `cuda`", "`cpu`"]


@pytest.mark.parametrize("page", PAGES)
def test_the_site_has_it(page):
    assert f": {page}\n" in (ROOT / "mkdocs.yml").read_text()
