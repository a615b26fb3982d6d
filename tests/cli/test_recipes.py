"""erde-nas recipes list, show, copy and check."""

import io
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from erde_nas.cli.app import main
from erde_nas.recipe import shipped as resources


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


@pytest.fixture
def own(tiny, tmp_path):
    """The tiny recipe with a program of the user's own, untrained."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 10), nn.Softmax(-1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, (torch.zeros(1, 1, 16, 16),)), tmp_path / "own.pt2")
    teacher = f"teacher:\n  checkpoint: {tmp_path}/own.pt2\n"
    return tiny.variant(tmp_path / "own", "teacher:\n", teacher).variant(
        tmp_path / "profiled", "name: tiny\n", f"name: tiny\nprofiles: [{tiny.profile}]\n"
    )


def test_check_looks_at_a_teacher_of_the_users_own(cli, own):
    done = cli("recipes", "check", own.recipe)
    assert done.code == 0, done.err
    first, _, _, read, batch, probabilities, accuracy, *more = done.out.splitlines()
    assert "recipe 'tiny' is fine" in first
    assert "reading a .pt2 file may run code of whoever made it" in read
    assert batch == "teacher own.pt2: it was exported for exactly 1 image at once; tried, it answers any number alike"
    assert "output 0 holds probabilities (a softmax)" in probabilities
    assert "validation images; by class: 0 (" in accuracy
    assert not any("baseline" in line for line in more), "it can be deployed in fp32 and int8"


def test_check_without_the_data(cli, refused, own, tmp_path):
    absent = own.variant(tmp_path / "absent", "{name: digits, ", "{name: npz, path: nowhere.npz, ")
    done = cli("recipes", "check", absent.recipe)
    assert done.code == 0, done.err
    data, file, missing = done.out.splitlines()[1:]
    assert data.startswith("data: not checked: dataset.path: nowhere.npz is no file")
    assert file.startswith(
        "teacher own.pt2: takes exactly 1 image at once of 1×16×16 as float32, gives 1 tensor; reading"
    )
    assert missing == "teacher own.pt2: not checked on images, nor as a baseline, since there are none"
    (tmp_path / "own.pt2").unlink()
    assert "own.pt2 does not exist; correct teacher.checkpoint" in refused("recipes", "check", absent.recipe)


@pytest.fixture
def folder(tiny, tmp_path):
    """The tiny recipe with a folder of random images in two splits: 8 and 3 of either class."""
    pixels = np.random.default_rng(0)
    for part, count in (("train", 8), ("valid", 3)):
        for name in ("ant", "bee"):
            place = tmp_path / "images" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(pixels.integers(0, 256, (8, 8), np.uint8)).save(place / f"{number}.png")
    section = f"{{name: folder, path: {tmp_path}/images, "
    return tiny.variant(tmp_path / "own", "{name: digits, ", section)


def test_check_says_what_the_data_are_taken_for(cli, folder):
    done = cli("recipes", "check", folder.recipe)
    assert done.code == 0, done.err
    assert done.out.splitlines()[1:4] == [
        "data: folder, 2 classes, images 1x8x8: 12 train, 4 validation, 6 test",
        "images per class (train + validation + test): ant 6 + 2 + 3, bee 6 + 2 + 3",
        "splits: train/ is train, valid/ is test; there is no other for test, so it is read once, for the report, and "
        "validation is held out of train",
    ]


def test_check_looks_at_the_data_alone(cli, folder, tmp_path):
    """Nothing is said of the recipe, nor of a teacher that is not there."""
    broken = folder.variant(tmp_path / "teacher", "teacher:\n", "teacher:\n  checkpoint: nowhere.pt2\n")
    done = cli("recipes", "check", broken.recipe, "--data")
    assert done.code == 0, done.err
    data, classes, splits, sizes = done.out.splitlines()
    assert data == "data: folder, 2 classes, images 1x8x8: 12 train, 4 validation, 6 test"
    assert classes == "images per class (train + validation + test): ant 6 + 2 + 3, bee 6 + 2 + 3"
    assert splits.startswith("splits: train/ is train, valid/ is test")
    assert sizes == "files: all are of 8x8 pixels"


def test_check_says_the_sizes_of_the_files(cli, folder, tmp_path):
    Image.fromarray(np.zeros((6, 20), np.uint8)).save(tmp_path / "images" / "train" / "ant" / "0.png")
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / "images" / "train" / "bee" / "0.png")
    scaled = folder.variant(tmp_path / "scaled", "{name: folder, ", "{name: folder, image_size: 8, ")
    lines = cli("recipes", "check", scaled.recipe, "--data").out.splitlines()
    assert lines[-1] == "files: 3 sizes, from 4x5 to 20x6 pixels; the commonest is 8x8 (20 of 22)"


@pytest.mark.parametrize("stream", ["never", "always"])
def test_check_finds_broken_images(refused, folder, tmp_path, stream):
    """All training images are read, also those that a search would read when their turn comes."""
    for name in ("0.png", "1.png", "2.png", "3.png"):
        path = tmp_path / "images" / "train" / "ant" / name
        path.write_bytes(path.read_bytes()[:60])
    streamed = folder.variant(
        tmp_path / stream, "{name: folder, ", f"{{name: folder, stream: {stream}, image_size: 8, "
    )
    message = refused("recipes", "check", streamed.recipe, "--data")
    assert "cannot be read as an image" in message
    assert "more of" in message


def test_check_of_data_that_are_not_here(refused, tiny, tmp_path):
    absent = tiny.variant(tmp_path / "absent", "{name: digits, ", "{name: npz, path: nowhere.npz, ")
    assert "nowhere.npz is no file" in refused("recipes", "check", absent.recipe, "--data")


def test_an_output_that_is_not_in_utf_8_shows_names_escaped(folder, tmp_path, monkeypatch):
    for part in ("train", "valid"):
        (tmp_path / "images" / part / "ant").rename(tmp_path / "images" / part / "café")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["erde-nas", "recipes", "check", str(folder.recipe)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert rb"caf\xe9 6 + 2 + 3" in written.getvalue()


def test_check_refuses_data_that_a_search_would_refuse(refused, folder, tmp_path):
    (tmp_path / "images" / "train").rename(tmp_path / "images" / "val")
    message = refused("recipes", "check", folder.recipe)
    assert "both val/, valid/ may be the validation split" in message
    assert len(message.splitlines()) == 1


def test_bad_names_and_places(refused, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    assert "no shipped recipe 'nope'" in refused("recipes", "show", "nope")
    assert "no shipped recipe 'nope'" in refused("recipes", "copy", "nope", tmp_path)
    assert "exists and is not overwritten" in refused("recipes", "copy", "quickstart", tmp_path / "mine.yaml")
    assert "No such file or directory" in refused("recipes", "copy", "quickstart", tmp_path / "no" / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "mine"
