"""erde-nas init: from images to a recipe that can be searched."""

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from erde_nas.cli.questions import ask
from erde_nas.data.folder import usual_side
from erde_nas.recipe.recipe import load_recipe


@pytest.fixture
def photos(tmp_path):
    """120 photos of two classes, 70 pixels wide and up to 80 high."""
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            pixels = generator.integers(0, 256, (70 + number % 11, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_a_folder_of_photos_becomes_a_recipe(cli, photos, tmp_path):
    done = cli("init", photos, tmp_path / "mine.yaml", "--hours", "0.1", "--target", "speedup=4")
    assert done.code == 0, done.err
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert (recipe.dataset.name, recipe.dataset.path, recipe.dataset.image_size) == ("folder", str(photos), 64)
    assert recipe.compress.goal is not None
    assert recipe.compress.goal.speedup == 4
    assert "2 classes, images 3x64x64" in done.out
    assert "plan: a teacher of " in done.out
    assert f"next: erde-nas search {tmp_path / 'mine.yaml'} --out runs/mine" in done.out
    assert cli("recipes", "check", tmp_path / "mine.yaml").code == 0


def test_what_is_wrong_is_said_and_nothing_is_written(refused, photos, tmp_path):
    (tmp_path / "there.yaml").write_text("mine")
    assert "there.yaml exists already; name a new .yaml file" in refused("init", photos, tmp_path / "there.yaml")
    assert "does not end in .yaml" in refused("init", photos, tmp_path / "recipe")
    assert "nowhere is no folder of images, no .npz file, and none of the data sets" in refused(
        "init", "nowhere", tmp_path / "a.yaml"
    )
    assert "image_size belongs to folder" in refused("init", "digits", tmp_path / "a.yaml", "--size", "32")
    assert "hours must be a number from 0.01" in refused("init", "digits", tmp_path / "a.yaml", "--hours", "0")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused("init", tmp_path / "empty", tmp_path / "a.yaml")
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["there.yaml"]


@pytest.mark.parametrize(("sides", "side"), [((20, 20), 32), ((33, 200), 32), ((96, 97), 96), ((500, 400), 96)])
def test_images_are_not_enlarged_but_to_the_least_size(tmp_path, sides, side):
    for number in range(3):
        Image.new("RGB", sides).save(tmp_path / f"{number}.png")
    assert usual_side(tmp_path) == side


@pytest.mark.parametrize(
    ("typed", "said", "found"),
    [
        ("\n\n\n", (None, None, None), "1.0 None None"),
        ("0.5\n48\nnet.pt2\n", (None, None, None), "0.5 48 net.pt2"),
        ("", (2.0, 32, "own.pt2"), "2.0 32 own.pt2"),
    ],
)
def test_what_no_option_says_is_asked(photos, typed, said, found):
    app = typer.Typer()

    @app.command()
    def answers():
        print(*ask(str(photos), *said))

    assert CliRunner().invoke(app, input=typed).stdout.strip().endswith(found)
