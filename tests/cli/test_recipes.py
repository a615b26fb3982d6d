"""erde-nas recipes list, show, copy and check."""

import pytest

from erde_nas import resources


def test_list(cli):
    done = cli("recipes", "list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(resources.shipped("search"))
    assert all(len(line.split()) > 3 for line in lines), "a name and what it is for"


def test_show_and_copy_give_the_file_with_its_comments(cli, tmp_path):
    text = resources.shipped("search")["quickstart"].read_text()
    assert cli("recipes", "show", "quickstart").out == text
    done = cli("recipes", "copy", "quickstart", tmp_path / "mine.yaml")
    assert (done.code, done.out) == (0, f"{tmp_path / 'mine.yaml'}\n")
    assert (tmp_path / "mine.yaml").read_text() == text
    assert cli("recipes", "show", tmp_path / "mine.yaml").out == text


@pytest.mark.parametrize("name", list(resources.shipped("search")))
def test_shipped_ones_are_fine(cli, name):
    done = cli("recipes", "check", name)
    assert done.code == 0, done.err
    assert f"recipe '{name}' is fine: " in done.out


def test_check_lists_every_problem(refused, tiny, tmp_path):
    wrong = tiny.variant(tmp_path / "a", "epochs: 6", "epochs: 0").variant(tmp_path / "b", "trials: 3", "trails: 3")
    message = refused("recipes", "check", wrong.recipe)
    assert [line.split(": ")[1] for line in message.splitlines()] == ["teacher.train.epochs", "search.trails"]
    assert "did you mean 'trials'?" in message


def test_check_looks_at_the_profiles_too(refused, tiny, tmp_path):
    wrong = tiny.variant(tmp_path / "wrong", "name: tiny\n", "name: tiny\nprofiles: [cpu-3thread]\n")
    assert "no shipped profile 'cpu-3thread'" in refused("recipes", "check", wrong.recipe)


def test_bad_names_and_places(refused, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    assert "no shipped recipe 'nope'" in refused("recipes", "show", "nope")
    assert "no shipped recipe 'nope'" in refused("recipes", "copy", "nope", tmp_path)
    assert "exists and is not overwritten" in refused("recipes", "copy", "quickstart", tmp_path / "mine.yaml")
    assert "No such file or directory" in refused("recipes", "copy", "quickstart", tmp_path / "no" / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "mine"
