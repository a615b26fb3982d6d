"""Names: those of the tables, and those that other packages add, the broken ones left out."""

import sys
from pathlib import Path

import pytest

from erde_nas.errors import UserError
from erde_nas.registry import Registry, UnknownName, load
from tests.plugins import install

GROUP = "erde_nas.test_things"
AT = {"path": "pathlib:Path", "ends": "os:path.splitext", "module": "json"}


@pytest.fixture
def things():
    return Registry("thing", GROUP, AT, needs=("__doc__",))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package of one module, as `tests.plugins.install` does, in a folder of its own."""

    def make(name: str, source: str, **points: str) -> None:
        install(tmp_path / name, name, source, {GROUP: points})
        monkeypatch.syspath_prepend(str(tmp_path / name))

    return make


def test_a_name_gives_what_its_table_says(things):
    import json
    import os

    assert (things["path"], things["ends"], things["module"]) == (Path, os.path.splitext, json)
    assert list(things) == ["path", "ends", "module"]
    assert "path" in things
    assert "paths" not in things


def test_an_unknown_name_lists_the_choices_and_the_nearest(things):
    with pytest.raises(
        UnknownName, match=r"unknown thing 'paths': choose one of path, ends, module; did you mean 'path'"
    ):
        things["paths"]
    assert things.unknown("xyz") == "unknown thing 'xyz': choose one of path, ends, module"


def test_another_package_adds_a_name(things, package):
    package("more_things", "class Extra:\n    value = 3\n", extra="more_things:Extra")
    assert list(things) == [*AT, "extra"]
    assert things["extra"].value == 3
    assert things.plugins()["extra"].package == "more_things 1.0"
    assert things.left_out() == []


def test_what_a_package_prints_is_kept_from_the_output(things, package, capsys):
    package("loud_things", "print('hello')\nclass Extra: pass\n", loud="loud_things:Extra")
    assert "loud" in list(things)
    assert capsys.readouterr() == ("", "hello\n")


def test_a_broken_package_is_named_and_left_out(things, package):
    package("broken_things", "import a_module_that_is_not_there\n", wrong="broken_things:Wrong")
    package("sound_things", "class Sound: pass\n", sound="sound_things:Sound")
    line = (
        "thing 'wrong' of broken_things 1.0 is left out: "
        "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"
    )
    assert things.noticed() == [], "nothing is imported before it is needed"
    assert list(things) == [*AT, "sound"]
    assert "wrong" not in things
    assert things.noticed() == things.left_out() == [line]
    with pytest.raises(UserError) as caught:
        things["wrong"]
    assert str(caught.value) == line
    assert things["path"] is Path


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("Other = 1", "AttributeError: module 'odd' has no attribute 'Odd'"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
    ],
)
def test_whatever_breaks_a_package_is_one_line(things, package, source, why):
    package("odd", source, odd="odd:Odd")
    sys.modules.pop("odd", None)
    assert things.left_out() == [f"thing 'odd' of odd 1.0 is left out: {why}"]


def test_what_lacks_something_is_left_out(package):
    things = Registry("thing", GROUP, {}, needs=("ask", "tell"))
    package("half_things", "class Half:\n    def ask(self): pass\n", half="half_things:Half")
    assert things.left_out() == [
        "thing 'half' of half_things 1.0 is left out: half_things:Half has no tell; it may be for another erde-nas"
    ]


def test_what_is_of_another_kind_is_left_out(package):
    things = Registry("thing", GROUP, {}, a="pathlib:PurePath")
    source = "import pathlib\nclass Sub(pathlib.PurePath): pass\npath, other = pathlib.Path('a'), 5\n"
    package("kinds", source, a_path="kinds:path", a_class="kinds:Sub", a_number="kinds:other")
    assert list(things) == ["a_path", "a_class"]
    assert things.left_out() == [
        "thing 'a_number' of kinds 1.0 is left out: kinds:other must be a PurePath of pathlib, but is of type int"
    ]


def test_a_taken_name_is_refused(things, package):
    package("first_things", "Thing = 1", new="first_things:Thing")
    package("taking_things", "Thing = 1", path="taking_things:Thing", new="taking_things:Thing")
    assert things["path"] is Path
    assert things.left_out() == [
        "thing 'path' of taking_things 1.0 is left out: erde-nas has a thing of that name itself",
        "thing 'new' of first_things 1.0 is left out: taking_things 1.0 has a thing of that name, too",
    ], "the first on the search path has the name"


def test_a_name_may_be_registered_for_a_while(things):
    with things.registered("mine", "json:dumps"):
        assert things["mine"] is load("json:dumps")
        assert list(things) == [*AT, "mine"]
        with pytest.raises(UserError, match="there is a thing 'mine' already"):
            things.register("mine", "json:loads")
    assert "mine" not in things
    with pytest.raises(UserError, match="there is a thing 'path' already"):
        things.register("path", "json:loads")
