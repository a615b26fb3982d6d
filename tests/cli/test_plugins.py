"""Packages that are broken are named and left out: they break neither help, nor doctor, nor other names."""

import itertools

import pytest

from erde_nas.registry import REGISTRIES
from tests.plugins import install

WHY = "ModuleNotFoundError: No module named 'gone_for_good'"


NUMBERS = itertools.count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported, with the name `wrecked` in every registry; none had its name before."""
    name = f"wrecked_things_{next(NUMBERS)}"
    points = {registry.group: {"wrecked": f"{name}:Thing"} for registry in REGISTRIES}
    install(tmp_path / name, name, "import gone_for_good\n", points)
    monkeypatch.syspath_prepend(str(tmp_path / name))
    return name


@pytest.fixture
def left_out(package):
    """The line on one kind of it."""
    return lambda kind: f"{kind} 'wrecked' of {package} 1.0 is left out: {WHY}"


def test_help_and_recipes_work_and_look_for_none(package, cli, tiny):
    for words in (("--help",), ("recipes", "list"), ("recipes", "check", tiny.recipe)):
        done = cli(*words)
        assert (done.code, done.err) == (0, "")
    assert "digits" in cli("data", "list").out


def test_doctor_names_each_and_the_sound_ones(package, cli, tmp_path, monkeypatch):
    install(tmp_path / "sound", "sound_things", "", {"erde_nas.searchers": {"mine": "tests.toys:FirstChoices"}})
    monkeypatch.syspath_prepend(str(tmp_path / "sound"))
    done = cli("doctor")
    assert done.code == 0
    said = " ".join(done.out.split())
    assert "ok searcher mine sound_things 1.0" in said
    for registry in REGISTRIES:
        assert f"warning {registry.kind} left out {registry.kind} 'wrecked' of {package} 1.0" in said


def test_a_listing_goes_on_without_it_and_says_so(left_out, cli):
    done = cli("data", "list")
    assert done.code == 0
    assert "wrecked" not in done.out
    assert done.err == f"note: {left_out('data set')}\n"


def test_its_name_is_answered_with_the_reason(left_out, refused, tiny, tmp_path):
    recipe = tiny.variant(tmp_path / "variant", "searcher: nsga2", "searcher: wrecked").recipe
    line = 1 + next(i for i, text in enumerate(recipe.read_text().splitlines()) if "wrecked" in text)
    assert refused("recipes", "check", recipe) == f"{recipe}:{line}: search.searcher: {left_out('searcher')}"
    out = ("--out", tmp_path / "out")
    assert left_out("loss") in refused("distil", tiny.recipe, "--loss", "wrecked", *out)


def test_another_wrong_name_lists_what_works(left_out, cli, tiny, tmp_path):
    recipe = tiny.variant(tmp_path / "variant", "searcher: nsga2", "searcher: surogate").recipe
    done = cli("recipes", "check", recipe)
    assert done.code == 2
    note, error = done.err.splitlines()
    assert note == f"note: {left_out('searcher')}"
    assert error.endswith("or 'nni-gridsearch' (got \"surogate\"); did you mean 'surrogate'?")
