"""The plan of the house: few modules in the root, rooms that say what they are for, and tests beside them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "erde_nas"
ROOMS = sorted(path.parent.relative_to(PACKAGE) for path in PACKAGE.glob("**/__init__.py") if path.parent != PACKAGE)


def test_at_most_eight_modules_stand_in_the_root():
    assert len(list(PACKAGE.glob("*.py"))) <= 8


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_says_what_it_is_for(room: Path):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    assert text, f"{room}/__init__.py has no docstring"
    assert text.splitlines()[0].endswith("."), "its first line is a sentence"


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_contributing_draws_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawing = text[text.index("## The house") : text.index("## House rules")]
    top = {f"{room}/" for room in ROOMS if len(room.parts) == 1}
    top |= {path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    drawn = set(re.findall(r"(?<![\w/])([a-z_]+(?:/|\.py))(?=\s)", drawing))
    assert top <= drawn, f"not drawn: {sorted(top - drawn)}"
    inner = {f"{room}/" for room in PACKAGE.rglob("*/") if (room / "__init__.py").is_file()}
    assert {name for name in drawn if name.endswith("/")} <= {f"{Path(name).name}/" for name in inner}


def test_tests_stand_in_the_rooms_of_what_they_test():
    rooms = {Path(room) for room in ROOMS} | {Path(), Path("fuzz")}  # every reader is fuzzed
    stray = [p for p in (ROOT / "tests").rglob("test_*.py") if p.parent.relative_to(ROOT / "tests") not in rooms]
    assert stray == []
