"""Recipes and profiles by name, path, dictionary or object, with the errors that a file would give."""

from pathlib import Path

import pytest

import erde_nas
from erde_nas.api.inputs import changed, folder_of, number_of, profiles_of, recipe_of, texts_of
from erde_nas.api.progress import telling
from erde_nas.recipe.shipped import shipped
from erde_nas.recipe.yaml_lines import read_yaml

QUICKSTART = shipped("search")["quickstart"]


def keys() -> dict:
    """The quickstart recipe as a dictionary."""
    return read_yaml(QUICKSTART).values


def test_a_recipe_is_the_same_however_it_is_given():
    by_name = recipe_of("quickstart")
    assert by_name.name == "quickstart"
    assert recipe_of(QUICKSTART) == recipe_of(str(QUICKSTART)) == recipe_of(keys()) == by_name
    assert recipe_of(by_name) is by_name
    space = keys()["space"]
    in_python = {**keys(), "space": {**space, "widths": tuple(map(tuple, space["widths"]))}}
    assert recipe_of(in_python) == by_name, "tuples are lists"


def test_paths_in_a_dictionary_are_texts(tmp_path):
    recipe = recipe_of({**keys(), "dataset": {"name": "npz", "path": tmp_path / "a.npz"}})
    assert recipe.dataset.path == str(tmp_path / "a.npz")


def test_all_errors_of_a_dictionary_come_together_as_those_of_a_file(tmp_path):
    wrong = keys()
    wrong["search"] = {**wrong["search"], "trails": 3}
    wrong["train"] = {"epochs": "two"}
    with pytest.raises(erde_nas.UserError) as error:
        recipe_of(wrong)
    assert sorted(str(error.value).splitlines()) == [
        "recipe: search.trails: is not a key here; did you mean 'trials'?",
        'recipe: train.epochs: should be a whole number (got "two"); write digits without quotes',
    ]
    with pytest.raises(erde_nas.UserError, match=r"recipe: \{1\} is a set; use texts, numbers"):
        recipe_of({**keys(), "train": {1}})
    with pytest.raises(erde_nas.UserError, match="no shipped recipe 'quikstart'; did you mean quickstart"):
        recipe_of("quikstart")
    with pytest.raises(erde_nas.UserError, match=r"no recipe file nowhere\.yaml"):
        recipe_of(Path("nowhere.yaml"))


@pytest.mark.parametrize("value", ["0.1", None, True, float("nan"), 1.5, -1])
def test_a_number_of_another_kind_or_size_is_refused(value):
    with pytest.raises(erde_nas.UserError, match=f"share must be a number from 0 to 1, but got {value!r}"):
        number_of("share", value, 0, 1)
    with pytest.raises(erde_nas.UserError, match="count must be a whole number from 1 to 8, but got"):
        number_of("count", value, 1, 8, whole=True)
    assert number_of("share", 0.25, 0, 1) == 0.25


@pytest.mark.parametrize("value", [5, [5], [None]])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(erde_nas.UserError, match="one or several texts are wanted, but got"):
        texts_of(value)


def test_profiles_are_one_or_several():
    by_name = profiles_of("cpu-1thread")
    assert [profile.name for profile in by_name] == ["cpu-1thread"]
    mine = {"name": "mine", "threads": 1}
    both = profiles_of(["cpu-1thread", mine])
    assert both == (by_name[0], erde_nas.HardwareProfile(name="mine"))
    assert profiles_of(both) == both
    assert profiles_of(mine) == both[1:]
    with pytest.raises(erde_nas.UserError, match="two hardware profiles have the same name: mine, mine; rename one"):
        profiles_of([mine, mine])
    with pytest.raises(erde_nas.UserError, match="profile: threads: should be greater than or equal to 1"):
        profiles_of({"name": "mine", "threads": 0})


@pytest.mark.parametrize("given", [[], (), 5])
def test_without_a_profile_nothing_is_begun(given, tmp_path):
    with pytest.raises(erde_nas.UserError, match="profiles must be at least one name, path, dictionary"):
        erde_nas.search("quickstart", tmp_path / "run", profiles=given)
    assert not (tmp_path / "run").exists()


def test_what_is_no_path_no_factor_or_no_function_is_named():
    with pytest.raises(erde_nas.UserError, match="a recipe must be a name, path, dictionary or Recipe, but got None"):
        recipe_of(None)
    with pytest.raises(erde_nas.UserError, match="a folder or file must be a text or a Path, but got None"):
        erde_nas.load_run(None)
    with pytest.raises(erde_nas.UserError, match="must be a text or a Path, but got a value of type list"):
        folder_of([])
    with pytest.raises(erde_nas.UserError, match="epochs_scale must be a factor above 0 and at most 1000, but got 2"):
        changed(recipe_of("quickstart"), epochs_scale="2")
    with pytest.raises(erde_nas.UserError, match="progress must be True, False or a function"), telling(5):
        pass


def test_a_text_by_itself_is_one_of_several():
    assert texts_of("kd") == texts_of(["kd"]) == ("kd",)
    assert texts_of(None) == ()


def test_what_a_call_says_instead():
    recipe = recipe_of("quickstart")
    assert changed(recipe) == recipe
    assert changed(recipe, trials=3, seed=7).search.trials == 3
    assert changed(recipe, trials=3, seed=7).search.seed == 7
    by_time = changed(recipe, hours=0.5).search
    assert (by_time.hours, by_time.trials) == (0.5, None), "as many as fit"
    both = changed(recipe, hours=0.5, trials=4).search
    assert (both.hours, both.trials) == (0.5, 4)
    half = changed(recipe, epochs_scale=0.5)
    assert half.train.epochs == round(recipe.train.epochs / 2)
    assert half.teacher.train.epochs == recipe.teacher.train.epochs // 2


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"trials": 0}, "search: trials: should be greater than or equal to 1 \\(got 0\\)"),
        ({"trials": 1.5}, "search: trials: should be a whole number"),
        ({"seed": -1}, "search: seed: should be greater than or equal to 0 \\(got -1\\)"),
        ({"hours": -2.0}, "search: hours: should be greater than 0"),
        ({"epochs_scale": 0.0}, "epochs_scale must be a factor above 0 and at most 1000, but got 0.0"),
        ({"epochs_scale": float("nan")}, "epochs_scale must be a factor above 0"),
    ],
)
def test_a_wish_that_cannot_be(wish, said):
    with pytest.raises(erde_nas.UserError, match=said):
        changed(recipe_of("quickstart"), **wish)
