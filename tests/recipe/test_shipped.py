"""Shipped YAMLs: found by name or path, copied without overwriting, in a checkout and in a wheel."""

import pytest

from erde_nas.errors import UserError
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.profile import load_profile
from erde_nas.recipe.recipe import load_recipe

PROFILES = (
    *("cpu-1thread", "cpu-1thread-int8", "cpu-batch64", "cuda", "executorch-1thread", "jetson-orin-nano"),
    *("openvino-1thread", "openvino-1thread-bf16", "openvino-1thread-int8", "raspberry-pi-5"),
    *("torch-1thread", "torch-compile-batch64"),
)


@pytest.fixture(params=["checkout", "wheel", "a stranger's project around the wheel"])
def layout(request, tmp_path, monkeypatch):
    """A package folder with one shipped file of each kind, in one of the places where they may lie."""
    package = tmp_path / "erde_nas"
    root = tmp_path if request.param == "checkout" else package / "_shipped"
    for kind in ("search", "profiles"):
        (root / kind).mkdir(parents=True)
        (root / kind / "mine.yaml").write_text(f"name: mine # {kind}\n")
    if request.param != "wheel":
        name = "erde-nas" if request.param == "checkout" else "stranger"
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    monkeypatch.setattr(resources, "PACKAGE", package)
    return root


@pytest.mark.parametrize("kind", ["search", "profiles"])
def test_files_are_found_in_every_layout(layout, kind):
    assert resources.shipped(kind) == {"mine": layout / kind / "mine.yaml"}
    assert resources.find(kind, "mine").read_text() == f"name: mine # {kind}\n"


@pytest.mark.parametrize("name", PROFILES)
def test_every_shipped_profile_loads_under_its_own_name(name):
    assert load_profile(resources.find("profiles", name)).name == name


def test_the_list_of_shipped_profiles_is_complete():
    assert tuple(resources.shipped("profiles")) == PROFILES


def test_every_shipped_recipe_loads_and_names_known_profiles():
    for path in resources.shipped("search").values():
        recipe = load_recipe(path)
        assert all(resources.find("profiles", name).is_file() for name in recipe.profiles)


def test_the_defaults_that_the_first_profile_spells_out_are_the_defaults(tmp_path):
    short = tmp_path / "short.yaml"
    short.write_text("name: cpu-1thread\ndescription: One image at a time on one CPU thread, fp32\n")
    assert load_profile(resources.find("profiles", "cpu-1thread")) == load_profile(short)


def test_the_commented_keys_of_the_first_profile_load_too(tmp_path):
    lines = resources.find("profiles", "cpu-1thread").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("# limits:"))
    path = tmp_path / "all.yaml"
    path.write_text("\n".join([*lines[:start], *(line.removeprefix("# ").removeprefix("#") for line in lines[start:])]))
    profile = load_profile(path)
    unset = [key for section in (profile.limits, profile.match) for key, value in section if value is None]
    assert unset == []


def test_a_path_is_taken_as_it_is(layout, tmp_path):
    own = tmp_path / "own.yml"
    own.touch()
    assert resources.find("search", str(own)) == own


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cpu-1tread", r"no shipped profile 'cpu-1tread'; did you mean cpu-1thread.*'erde-nas profiles list'"),
        ("???", "there are cpu-1thread, cpu-1thread-int8, cpu-batch64, cuda, executorch-1thread, jetson"),
        ("cuda.yaml", r"no profile file cuda\.yaml .*'cuda' alone is a shipped one"),
        ("./absent/x.yaml", r"no profile file \./absent/x\.yaml \(a path ends in \.yaml\); see 'erde-nas profiles"),
        ("../profiles/cuda", r"no profile file \.\./profiles/cuda \(a path ends in \.yaml\)"),
    ],
)
def test_an_unknown_name_or_path_says_what_there_is(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        resources.find("profiles", name)


def test_copy_goes_to_a_file_or_into_a_folder(layout, tmp_path):
    source = (layout / "profiles" / "mine.yaml").read_bytes()
    assert resources.copy("profiles", "mine", tmp_path / "new.yaml").read_bytes() == source
    (tmp_path / "folder").mkdir()
    assert resources.copy("profiles", "mine", tmp_path / "folder") == tmp_path / "folder" / "mine.yaml"
    assert (tmp_path / "folder" / "mine.yaml").read_bytes() == source


def test_copy_never_overwrites(layout, tmp_path):
    target = tmp_path / "kept.yaml"
    target.write_text("mine")
    with pytest.raises(UserError, match=r"kept\.yaml: exists and is not overwritten"):
        resources.copy("profiles", "mine", target)
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no/such/x.yaml", r"x\.yaml: cannot be written \(No such file"),
        ("plain", "plain: is no folder and does not end"),
    ],
)
def test_copy_says_where_it_cannot_write(layout, tmp_path, target, message):
    with pytest.raises(UserError, match=message):
        resources.copy("search", "mine", tmp_path / target)


def test_copy_of_an_unknown_name(layout, tmp_path):
    with pytest.raises(UserError, match="no shipped recipe 'mien'; did you mean mine"):
        resources.copy("search", "mien", tmp_path)
