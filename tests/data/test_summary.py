"""What a user is told about their data at the start: counts by hand, copies between splits, transparency, channels."""

from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.dataset import Dataset
from erde_nas.data.load import describe, load_dataset
from erde_nas.data.npz import read_npz
from erde_nas.data.summary import describe_data, images_per_class
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection

SIDE = 8


def noise(count: int, seed: int, channels: int = 3) -> np.ndarray:
    """(count, h, w, channels)"""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, channels), np.uint8)


def write(folder: Path, images: np.ndarray, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=first):
        Image.fromarray(image.squeeze()).save(folder / f"{number}.png")


def load(folder: Path, **changes: object) -> Dataset:
    return load_dataset(DatasetSection.model_validate({"name": "folder", "path": str(folder), **changes}))


def lines_with(dataset: Dataset, word: str) -> list[str]:
    return [line for line in describe_data(dataset) if word in line]


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """train 10 + 8, val 3 + 2, test 5 + 4 images of ant and bee, all different."""
    for seed, (part, numbers) in enumerate({"train": (10, 8), "val": (3, 2), "test": (5, 4)}.items()):
        for label, count in zip(("ant", "bee"), numbers, strict=True):
            write(tmp_path / part / label, noise(count, 10 * seed + (label == "bee")))
    return tmp_path


def test_counts_by_class_and_split(splits: Path) -> None:
    dataset = load(splits)
    assert describe_data(dataset) == [
        "data: folder, 2 classes, images 3x8x8: 18 train, 5 validation, 9 test",
        "images per class (train + validation + test): ant 10 + 3 + 5, bee 8 + 2 + 4",
        "splits: train/ is train, test/ is test, val/ is validation",
    ]
    assert images_per_class(dataset) == {"train": [10, 8], "validation": [3, 2], "test": [5, 4]}
    assert describe(dataset)["remarks"] == ["splits: train/ is train, test/ is test, val/ is validation"]


def test_many_classes_are_summed_up(tmp_path: Path) -> None:
    for label in range(30):
        write(tmp_path / f"{label:02}", noise(3 + label % 2, label))
    (line,) = lines_with(load(tmp_path, validation=0.3, test=0.3), "per class")
    assert "11 2 + 1 + 1, and 18 more classes with 3 to 4 images each" in line


@pytest.mark.parametrize("stream", ["never", "always"])
def test_images_that_are_in_two_splits(splits: Path, stream: str) -> None:
    assert not lines_with(load(splits, stream=stream), "also")
    for name, other in (("7", "1"), ("8", "2"), ("9", "3")):
        copy(splits / "train" / "ant" / f"{other}.png", splits / "test" / "ant" / f"{name}.png")
    copy(splits / "test" / "bee" / "0.png", splits / "val" / "bee" / "9.png")
    also = lines_with(load(splits, stream=stream), "also")
    assert [line.split(" (")[0] for line in also] == [
        "3 of 12 test images are also in train",
        "1 of 12 test images are also in validation",
    ]
    assert "test/ant/7.png = train/ant/1.png, test/ant/8.png = train/ant/2.png" in also[0]


def test_files_of_one_size_and_one_end_are_no_copies(splits: Path) -> None:
    """Uncompressed, and alike but for their first rows."""
    image = np.full((64, 64, 3), 255, np.uint8)
    for name in ("train/ant", "train/bee", "test/ant"):
        image[:2] = noise(1, len(name) + ord(name[-1]))[0, :2].repeat(8, 1)[:, :64]
        Image.fromarray(image).save(splits / name / "white.bmp")
    copy(splits / "train" / "bee" / "white.bmp", splits / "test" / "bee" / "copy.bmp")
    (line,) = lines_with(load(splits, stream="always", image_size=SIDE), "also")
    assert line.startswith("1 of 11 test images are also in train (test/bee/copy.bmp = train/bee/white.bmp)")


def test_copies_are_known_by_their_pixels(splits: Path) -> None:
    pixels = np.asarray(Image.open(splits / "train" / "bee" / "3.png"))
    Image.fromarray(pixels).save(splits / "test" / "ant" / "copy.bmp")
    dataset = load(splits)
    assert lines_with(dataset, "1 of 10 test images are also in train (test/ant/copy.bmp = train/bee/3.png)")
    assert lines_with(dataset, "2 images are in more than one class: train/bee/3.png, test/ant/copy.bmp")


def test_images_that_are_nearly_all_alike(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        copies = np.full((18, SIDE, SIDE, 3), ord(label[0]), np.uint8)
        write(tmp_path / label, np.concatenate([noise(2, ord(label[0])), copies]))
    assert lines_with(load(tmp_path), "training images only")


def test_a_class_that_a_split_lacks(splits: Path) -> None:
    for path in (splits / "val" / "bee").iterdir():
        path.unlink()
    (splits / "val" / "bee").rmdir()
    assert lines_with(load(splits), "validation has no image of 1 of 2 classes: bee")


@pytest.mark.parametrize(("count", "said"), [(7, 0), (8, 1)])
def test_uneven_classes(tmp_path: Path, count: int, said: int) -> None:
    """Of `count` images of ant and 2 of bee for each of three parts, train holds five times as many from 8 on."""
    for part, ants, bees in (("train", count + 2, 2), ("val", 2, 2), ("test", 2, 2)):
        write(tmp_path / part / "ant", noise(ants, 1 + ord(part[0])))
        write(tmp_path / part / "bee", noise(bees, 50 + ord(part[0])))
    lines = lines_with(load(tmp_path), "uneven")
    assert lines == said * [
        "the classes are uneven: 10 training images of ant, 2 of bee; accuracy says little about small classes"
    ]


def icons(folder: Path, *, white: int = 0, mode: str = "RGBA") -> None:
    """Shapes that only alpha holds; the first `white` of them are white, the others black."""
    for label in ("ant", "bee"):
        images = np.zeros((10, SIDE, SIDE, 4), np.uint8)
        images[:white, ..., :3] = 255
        images[..., 3] = noise(10, ord(label[0]), 1)[..., 0]
        (folder / label).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).convert(mode).save(folder / label / f"{number}.png")


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 4), ("LA", 2)])
@pytest.mark.parametrize("white", [0, 1, 5])
def test_shapes_in_transparency_alone_are_refused_with_what_to_do(
    tmp_path: Path, mode: str, channels: int, white: int
) -> None:
    icons(tmp_path, white=white, mode=mode)
    expected = f"20 of 20 images have their shapes in transparency .*set dataset.channels: {channels}"
    with pytest.raises(UserError, match=expected):
        load(tmp_path)


def test_images_that_are_equal_without_transparency_are_refused(tmp_path: Path) -> None:
    picture = noise(1, 5)[0]
    for label in ("ant", "bee"):
        images = np.stack([np.dstack([picture, alpha]) for alpha in noise(6, ord(label[0]), 1)])
        write(tmp_path / label, images)
    with pytest.raises(UserError, match=r"12 of 12 images .* in transparency alone; without it they are flat or equal"):
        load(tmp_path)


@pytest.mark.parametrize("channels", [2, 4])
def test_what_to_do_works(tmp_path: Path, channels: int) -> None:
    icons(tmp_path)
    dataset = load(tmp_path, channels=channels)
    assert dataset.train.images.shape[1:] == (channels, SIDE, SIDE)
    assert dataset.std[:-1] == (1.0,) * (channels - 1)  # one colour everywhere
    alpha = np.asarray(Image.open(tmp_path / "bee" / "3.png"))[..., 3]
    parts = (dataset.train, dataset.validation, dataset.test)
    assert any((image[-1] == alpha).all() for part in parts for image in part.images)


def test_transparency_that_is_dropped_is_said(tmp_path: Path) -> None:
    icons(tmp_path / "icons")
    for label in ("ant", "bee"):
        write(tmp_path / "images" / label, noise(9, ord(label[0]), 4))
        write(tmp_path / "images" / label, noise(3, ord(label[0]) + 9, 3), first=20)
        opaque = np.dstack([noise(1, ord(label[0]) + 20)[0], np.full((SIDE, SIDE), 255, np.uint8)])
        write(tmp_path / "images" / label, opaque[None], first=30)
    copy(tmp_path / "icons" / "ant" / "0.png", tmp_path / "images" / "ant" / "icon.png")
    (line,) = lines_with(load(tmp_path / "images"), "transparency is dropped")
    assert "of 27 images 19 are partly transparent (ant/0.png, ant/1.png, ant/2.png and 16 more)" in line
    assert "1 flat or equal without it; set dataset.channels: 4" in line


def test_opaque_images_with_an_alpha_channel_need_no_word(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        images = noise(6, ord(label[0]), 4)
        images[..., 3] = 255
        write(tmp_path / label, images)
    assert not lines_with(load(tmp_path), "transparency")


def test_channels_belong_to_folder() -> None:
    with pytest.raises(ValueError, match="channels belongs to folder, not to 'digits'"):
        DatasetSection(name="digits", channels=3)


def test_channels_change_no_recipe_that_does_not_name_them() -> None:
    """Runs and comparisons are known by a hash of this."""
    assert "channels" not in DatasetSection(name="folder", path="a").model_dump()
    assert DatasetSection(name="folder", path="a", channels=2).model_dump()["channels"] == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_that_are_asked_for(splits: Path, channels: int) -> None:
    assert load(splits, channels=channels).train.images.shape[1] == channels


X, Y = noise(40, 0, 1)[..., 0], np.arange(40) % 2
NAMES = [
    ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
    ("X_train", "Y_train", "X_valid", "Y_valid", "X_test", "Y_test"),
    ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    ("images", "labels", "images_dev", "labels_dev", "images_test", "labels_test"),
    ("trainX", "trainY", "validationX", "validationY", "testX", "testY"),
]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
def test_npz_uses_every_split(names: tuple[str, ...], tmp_path: Path) -> None:
    arrays = (X[:24], Y[:24], X[24:30], Y[24:30], X[30:], Y[30:])
    np.savez(tmp_path / "data.npz", **dict(zip(names, arrays, strict=True)), class_names=np.array(["a", "b"]))
    dataset = load_dataset(DatasetSection(name="npz", path="data.npz"), tmp_path)
    for part, images in (("train", X[:24]), ("validation", X[24:30]), ("test", X[30:])):
        assert sorted(i.tobytes() for i in getattr(dataset, part).images) == sorted(i.tobytes() for i in images)
    assert "not used: class_names of data.npz" in dataset.remarks


def test_npz_with_validation_alone_reads_it_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=X[:30], y_train=Y[:30], x_val=X[30:], y_val=Y[30:])
    raw = read_npz(DatasetSection(name="npz", path="data.npz"), tmp_path)
    assert raw.validation is None
    np.testing.assert_array_equal(raw.test.images[:, 0], X[30:])
    assert raw.remarks[0].startswith(
        "splits: x_train, y_train is train, x_val, y_val is test; there is no other for test"
    )


def test_npz_copies_are_named(tmp_path: Path) -> None:
    x_test = np.concatenate([X[5:7], noise(4, 9, 1)[..., 0]])
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y, x_test=x_test, y_test=np.array([1, 0, 0, 1, 0, 1]))
    dataset = load_dataset(DatasetSection(name="npz", path="data.npz", validation=0.1), tmp_path)
    shared = sum(any((image == other).all() for other in dataset.train.images) for image in dataset.test.images)
    assert shared > 0
    assert lines_with(dataset, f"{shared} of 6 test images are also in train (x_test")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": X, "X_train": X, "y_train": Y}, "x_train and X_train may both be the images of train"),
        ({"x_train": X, "y_train": Y, "x_val": X}, "array y_val missing"),
        ({"x_train": X, "y_train": Y, "y_valid": Y}, "array x_valid missing"),
        ({"x_train": X, "y_train": Y, "x_val": X, "y_val": Y + 1}, r"y_val must hold labels 0\.\.1, as y_train does"),
        ({"x_val": X, "y_val": Y}, "array x_train and y_train missing"),
        ({"x_train": X, "y_train": Y, "x_dev": X[:0], "y_dev": Y[:0]}, "y_dev must hold labels .* but holds none"),
    ],
)
def test_npz_splits_are_checked(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(UserError, match=f"data.npz: .*{message}"):
        read_npz(DatasetSection(name="npz", path="data.npz"), tmp_path)
