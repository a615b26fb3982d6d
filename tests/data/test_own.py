"""The user's own images: folder and npz."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.dataset import image_shape
from erde_nas.data.folder import read_folder
from erde_nas.data.load import load_dataset
from erde_nas.data.npz import read_npz
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection

FOLDER, NPZ = DatasetSection(name="folder", path="images"), DatasetSection(name="npz", path="data.npz")


def write_images(folder: Path, count: int, value: int, *, mode: str = "L", size: tuple[int, int] = (8, 8)) -> None:
    """Images in one colour, value + 0, 1, 2..., so that each can be told from the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        colour = value + i if mode == "L" else (value + i, 0, 255)
        Image.new(mode, size, colour).save(folder / f"{i:03}.png")


def first_pixels(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_class_folders_in_alphabetical_order(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "zebra", 2, 100)
    write_images(tmp_path / "images" / "ant", 3, 10)
    (tmp_path / "images" / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "images" / "ant" / "._000.png").write_text("what macOS leaves behind")
    (tmp_path / "images" / ".cache").mkdir()
    raw = read_folder(FOLDER, tmp_path)
    assert raw.classes == ("ant", "zebra")
    assert raw.train.images.shape == (5, 1, 8, 8)
    assert first_pixels(raw.train.images) == [10, 11, 12, 100, 101]
    assert raw.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert raw.test is None


@pytest.mark.parametrize("name", ["test", "val"])
def test_one_more_folder_is_the_test_split(name: str, tmp_path: Path) -> None:
    for part, value in (("train", 10), (name, 90)):
        for k, animal in enumerate(("ant", "bee")):
            write_images(tmp_path / "images" / part / animal, 2, value + 50 * k)
    raw = read_folder(FOLDER, tmp_path)
    assert raw.test is not None
    assert raw.validation is None
    assert first_pixels(raw.train.images) == [10, 11, 60, 61]
    assert first_pixels(raw.test.images) == [90, 91, 140, 141]


def test_three_folders_are_three_splits(tmp_path: Path) -> None:
    for part, value in (("train", 10), ("val", 50), ("test", 90)):
        for k, animal in enumerate(("ant", "bee")):
            write_images(tmp_path / "images" / part / animal, 3, value + 10 * k)
    dataset = load_dataset(FOLDER, tmp_path)
    assert sorted(first_pixels(dataset.train.images)) == [10, 11, 12, 20, 21, 22]
    assert sorted(first_pixels(dataset.validation.images)) == [50, 51, 52, 60, 61, 62]
    assert first_pixels(dataset.test.images) == [90, 91, 92, 100, 101, 102]


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "train", 2, 10)
    write_images(tmp_path / "images" / "bus", 2, 50)
    assert read_folder(FOLDER, tmp_path).classes == ("bus", "train")


def test_one_colour_image_makes_all_rgb(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 2, 10)
    write_images(tmp_path / "images" / "bee", 1, 50, mode="RGB")
    images = read_folder(FOLDER, tmp_path).train.images
    assert images.shape == (3, 3, 8, 8)
    assert images[0, :, 0, 0].tolist() == [10, 10, 10]
    assert images[2, :, 0, 0].tolist() == [50, 0, 255]


def test_images_are_resized(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 2, 10, size=(20, 12))
    write_images(tmp_path / "images" / "bee", 2, 50, size=(9, 9))
    section = DatasetSection(name="folder", path=str(tmp_path / "images"), image_size=16)
    assert read_folder(section, None).train.images.shape == (4, 1, 16, 16)


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 1, 10)
    write_images(tmp_path / "images" / "bee", 1, 10)
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "images" / "bee" / "000.png", exif=exif)
    assert np.argwhere(read_folder(FOLDER, tmp_path).train.images == 200).tolist() == [[1, 0, 7, 7]]


@pytest.mark.parametrize("size", [(9, 9), (8, 9)])
def test_another_size_is_named(size: tuple[int, int], tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 1, 10)
    write_images(tmp_path / "images" / "bee", 1, 50, size=size)
    with pytest.raises(
        UserError, match=rf"bee/000.png: .*this one is {size[0]}x{size[1]} .*8x8; set dataset.image_size"
    ):
        read_folder(FOLDER, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_corrupt_image_is_named(content: bytes | None, tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 3, 10)
    write_images(tmp_path / "images" / "bee", 3, 50, mode="RGB", size=(8, 8))
    path = tmp_path / "images" / "ant" / "001.png"
    path.write_bytes(path.read_bytes()[:50] if content is None else content)
    with pytest.raises(UserError, match=r"ant/001.png: cannot be read as an image.*replace or remove it"):
        read_folder(FOLDER, tmp_path)


def test_all_unreadable_images_are_counted(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 6, 10)
    write_images(tmp_path / "images" / "bee", 3, 50)
    for name in ("000", "002", "003"):
        path = tmp_path / "images" / "ant" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:50] if name == "002" else b"")
    with pytest.raises(UserError, match=r"ant/000.png: cannot be read .*; 2 more of 9 files cannot be used"):
        read_folder(FOLDER, tmp_path)


def test_sixteen_bit_image_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 1, 10)
    write_images(tmp_path / "images" / "bee", 1, 10)
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "images" / "bee" / "000.png")
    with pytest.raises(UserError, match=r"bee/000.png: expected 8 bits a channel, but got Pillow mode I;16"):
        read_folder(FOLDER, tmp_path)


def test_gray_images_among_colour_and_squeezed_ones_are_counted(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 5, 10)
    write_images(tmp_path / "images" / "bee", 5, 100)
    Image.new("RGB", (10, 20)).save(tmp_path / "images" / "bee" / "wide.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "bee" / "large.png")
    resized = FOLDER.model_copy(update={"image_size": 8})
    gray, squeezed = read_folder(resized, tmp_path).remarks
    assert gray == "10 of 12 images are gray (ant/000.png, ant/001.png, ant/002.png and 7 more); all are read as RGB"
    assert squeezed == "1 of 12 images are not square and are squeezed to 8x8 (bee/wide.png)"
    assert read_folder(resized.model_copy(update={"channels": 1}), tmp_path).remarks == (squeezed,)


def test_images_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("L", (8, 8), 7).save(tmp_path / "images" / name / f"{number}.png")
    with pytest.raises(UserError, match=r"40 of 40 images are in more than one class: .*keep each image in one class"):
        load_dataset(FOLDER, tmp_path)


def test_an_error_about_a_file_is_one_line_whatever_its_name(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 2, 10)
    write_images(tmp_path / "images" / "bee", 2, 100)
    (tmp_path / "images" / "bee" / "a\nb.png").write_text("no image")
    with pytest.raises(UserError, match=r"bee/a\\nb.png: cannot be read as an image") as refused:
        read_folder(FOLDER, tmp_path)
    assert "\n" not in str(refused.value)


def test_npz_scaled_to_one_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=GOOD_X + np.arange(6, dtype=np.uint8)[:, None, None] % 2, labels=GOOD_Y)
    (line,) = read_npz(NPZ, tmp_path).remarks
    assert line.startswith("no pixel of data.npz is above 1, of 255")


def test_folder_errors_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}/images is not a folder"):
        read_folder(FOLDER, tmp_path)
    write_images(tmp_path / "images" / "ant", 2, 10)
    with pytest.raises(UserError, match="images: expected a sub-folder of images per class, at least 2, but got 1"):
        read_folder(FOLDER, tmp_path)
    (tmp_path / "images" / "bee").mkdir()
    with pytest.raises(UserError, match=r"images/bee: expected images .* but found none"):
        read_folder(FOLDER, tmp_path)


def test_class_without_training_images_is_named(tmp_path: Path) -> None:
    for path in ("train/ant", "train/bee", "test/ant", "test/wasp"):
        write_images(tmp_path / "images" / path, 2, 10)
    with pytest.raises(UserError, match="test/wasp: class 'wasp' has no training images"):
        read_folder(FOLDER, tmp_path)


def test_class_too_small_to_split_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "ant", 9, 10)
    write_images(tmp_path / "images" / "bee", 2, 100)
    with pytest.raises(UserError, match=r"0.1 of each class for validation: class 'bee' has 1 left"):
        load_dataset(FOLDER, tmp_path)


@pytest.mark.parametrize("shape", [(12, 8, 8), (12, 8, 8, 3), (12, 3, 8, 8), (12, 8, 8, 1)])
@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train")])
def test_npz_layouts(shape: tuple[int, ...], names: tuple[str, str], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(tmp_path / "data.npz", **{names[0]: images, names[1]: np.arange(12, dtype=np.uint8)[:, None] % 3})
    raw = read_npz(NPZ, tmp_path)
    assert raw.classes == ("class 0", "class 1", "class 2")
    assert raw.train.labels.tolist() == [0, 1, 2] * 4
    assert raw.test is None
    for i, row, column in ((0, 1, 2), (11, 7, 0)):
        expected = images[i, :, row, column] if shape[1] == 3 else np.atleast_1d(images[i, row, column])
        assert raw.train.images[i, :, row, column].tolist() == expected.tolist()


def test_npz_with_its_own_test_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (30, 8, 8), np.uint8), np.arange(30) % 2
    np.savez_compressed(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    dataset = load_dataset(NPZ, tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (26, 4, 4)
    np.testing.assert_array_equal(dataset.test.images[:, 0], x[:4])


GOOD_X, GOOD_Y = np.zeros((6, 8, 8), np.uint8), np.array([0, 1] * 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GOOD_X}, r"array labels missing, found \['images'\]"),
        ({"a": GOOD_X}, "array x_train and y_train missing"),
        ({"images": GOOD_X / 255, "labels": GOOD_Y}, "images must be uint8 .* but is float64"),
        ({"images": GOOD_X[0], "labels": GOOD_Y}, r"but is \(8, 8\)"),
        ({"images": np.zeros((6, 8, 8, 5), np.uint8), "labels": GOOD_Y}, r"1 to 4 channels, but is \(6, 8, 8, 5\)"),
        ({"images": np.zeros((6, 3, 8, 3), np.uint8), "labels": GOOD_Y}, r"but is \(6, 3, 8, 3\)"),
        ({"images": GOOD_X, "labels": GOOD_Y[:5]}, r"labels must be 6 integers.* but is int64 \(5,\)"),
        ({"images": GOOD_X, "labels": GOOD_Y * 1.0}, "labels must be 6 integers.* but is float64"),
        ({"images": GOOD_X, "labels": np.eye(2)[GOOD_Y]}, r"float64 \(6, 2\); were they one-hot, save labels.argmax"),
        ({"images": GOOD_X, "labels": np.array(["ant", "bee"])[GOOD_Y]}, r"<U3 \(6,\); save numpy.unique"),
        ({"images": GOOD_X, "labels": GOOD_Y * 2}, r"labels must be 0\.\.classes-1.* but got \[0, 2\]"),
        ({"images": GOOD_X, "labels": GOOD_Y - 1}, r"but got \[-1, 0\]"),
        ({"images": GOOD_X, "labels": GOOD_Y * 0}, r"at least 2 classes.* but got \[0\]"),
        ({"images": GOOD_X, "labels": GOOD_Y, "x_test": GOOD_X}, "array y_test missing"),
        (
            {"images": GOOD_X, "labels": GOOD_Y, "x_test": GOOD_X, "y_test": GOOD_Y + 1},
            r"y_test must hold labels 0\.\.1, as labels does, but holds \[1, 2\]",
        ),
    ],
)
def test_npz_arrays_are_checked(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(UserError, match=f"data.npz: .*{message}"):
        read_npz(NPZ, tmp_path)


def test_npz_shapes_must_fit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide, small = rng.integers(0, 256, (20, 8, 12), np.uint8), rng.integers(0, 256, (20, 8, 8), np.uint8)
    y = np.arange(20) % 2
    np.savez(tmp_path / "data.npz", images=wide, labels=y)
    assert image_shape(load_dataset(NPZ, tmp_path)) == (1, 8, 12)
    np.savez(tmp_path / "data.npz", x_train=small, y_train=y, x_test=wide, y_test=y)
    with pytest.raises(UserError, match=r"test images must be \(1, 8, 8\).* but are \(1, 8, 12\)"):
        load_dataset(NPZ, tmp_path)


def test_npz_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=GOOD_X, labels=np.array([{"a": 1}] * 6, dtype=object))
    with pytest.raises(UserError, match=r"data.npz: cannot be read as an .npz file .*pickle"):
        read_npz(NPZ, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", None])
def test_damaged_npz_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=GOOD_X, labels=GOOD_Y)
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    with pytest.raises(UserError, match=r"data.npz: cannot be read as an .npz file"):
        read_npz(NPZ, tmp_path)


def test_missing_npz_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}/data.npz is no file"):
        read_npz(NPZ, tmp_path)
