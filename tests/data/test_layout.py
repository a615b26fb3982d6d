"""Which folder is taken for which split and class, by hand; what can be read in two ways is refused."""

import os
import unicodedata
from pathlib import Path

import pytest

from erde_nas.data.layout import Layout, find_layout
from erde_nas.data.parts import part_of
from erde_nas.errors import UserError


def put(root: Path, *names: str) -> Path:
    """Files that are told apart by their names alone; nothing here looks into them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def found(root: Path) -> dict[str, dict[str, list[str]]]:
    """By split, then by class, the files below `root`."""
    layout = find_layout(root)
    return {
        part: {
            name: [str(path.relative_to(root)) for path, label in listing if layout.classes[label] == name]
            for name in layout.classes
        }
        for part, listing in layout.listings.items()
    }


def counts(layout: Layout) -> dict[str, list[int]]:
    return {
        part: [sum(label == k for _, label in listing) for k in range(len(layout.classes))]
        for part, listing in layout.listings.items()
    }


def said(root: Path) -> str:
    return "\n".join(find_layout(root).remarks)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"), ("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("trainset", "train"),
        ("train-images", "train"), ("val", "validation"), ("valid", "validation"), ("Validation", "validation"),
        ("dev", "validation"), ("eval", "validation"), ("valid_set", "validation"), ("test", "test"),
        ("Testing", "test"), ("test_data", "test"), ("test set", "test"),
        ("cat", None), ("seg_train", None), ("test tube", None), ("trainer", None), ("set", None), ("", None),
        ("evaluation of tests", None), ("images", None), ("train_test", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, part: str | None) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize("valid", ["val", "valid", "Validation", "dev", "EVAL"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "testing"), ("TRAIN", "Test_Set")])
def test_three_splits(train: str, valid: str, test: str, tmp_path: Path) -> None:
    files = [
        f"{part}/{name}/{k}.png" for part, n in ((train, 3), (valid, 1), (test, 2)) for name in "ab" for k in range(n)
    ]
    layout = find_layout(put(tmp_path, *files))
    assert layout.classes == ("a", "b")
    assert counts(layout) == {"train": [3, 3], "test": [2, 2], "validation": [1, 1]}
    assert layout.remarks == (f"splits: {train}/ is train, {test}/ is test, {valid}/ is validation",)


@pytest.mark.parametrize("valid", ["val", "valid", "Dev"])
def test_validation_without_test_is_read_once_as_the_test(valid: str, tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png", f"{valid}/a/3.png", f"{valid}/b/4.png")
    assert found(tmp_path) == {
        "train": {"a": ["train/a/1.png"], "b": ["train/b/2.png"]},
        "test": {"a": [f"{valid}/a/3.png"], "b": [f"{valid}/b/4.png"]},
    }
    assert f"{valid}/ is test; there is no other for test" in said(tmp_path)
    assert "validation is held out of train" in said(tmp_path)


def test_splits_below_every_class(tmp_path: Path) -> None:
    put(tmp_path, "cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/train/4.png", "dog/Test/5.png")
    assert found(tmp_path) == {
        "train": {"cat": ["cat/train/1.png"], "dog": ["dog/train/3.png", "dog/train/4.png"]},
        "test": {"cat": ["cat/test/2.png"], "dog": ["dog/Test/5.png"]},
    }
    assert "train/ is train, test/ is test; validation held out of train; below every class" in said(tmp_path)


@pytest.mark.parametrize("above", ["data", "archive/dataset", "train"])
def test_a_folder_around_everything(above: str, tmp_path: Path) -> None:
    put(tmp_path, f"{above}/a/1.png", f"{above}/b/x/2.png", f"{above}/b/3.png")
    assert found(tmp_path)["train"] == {"a": [f"{above}/a/1.png"], "b": [f"{above}/b/3.png", f"{above}/b/x/2.png"]}
    assert f"{above}/ alone is taken as the data set\n" in said(tmp_path)


def test_a_folder_around_the_classes_of_a_split(tmp_path: Path) -> None:
    names = ["training_set/training_set/a/1.png", "training_set/training_set/b/2.png"]
    put(tmp_path, *names, "test_set/test_set/a/3.png", "test_set/test_set/b/4.png")
    assert counts(find_layout(tmp_path)) == {"train": [1, 1], "test": [1, 1]}


@pytest.mark.parametrize("test", ["test", "test/test", "test/images", "Testing/unknown"])
def test_a_test_folder_without_classes_is_named_and_not_used(test: str, tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png", f"{test}/3.png", f"{test}/4.png", f"{test}/5.png")
    layout = find_layout(tmp_path)
    assert (layout.classes, counts(layout)) == (("a", "b"), {"train": [1, 1]})
    assert layout.remarks == (
        "splits: train/ is train; validation and test held out of train",
        f"{test.split('/')[0]}/: not used, since its 3 images are not sorted into classes",
    )


def test_validation_beside_a_test_folder_without_classes(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png", "test/5.png")
    assert counts(find_layout(tmp_path)) == {"train": [1, 1], "test": [1, 1]}
    assert "val/ is test" in said(tmp_path)
    assert "test/: not used, since its 1 images are not sorted into classes" in said(tmp_path)


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png")
    (tmp_path / "test").mkdir()
    assert "test/: not used, since it holds no images" in said(tmp_path)


def test_plain_classes_say_nothing(tmp_path: Path) -> None:
    layout = find_layout(put(tmp_path, "a/1.png", "b/3.png"))
    assert (layout.classes, layout.remarks) == (("a", "b"), ())


def test_folders_below_classes_are_named(tmp_path: Path) -> None:
    put(tmp_path, "pets/cat/1.png", "pets/dog/2.png", "cars/bus/3.png", "cars/4.png", "cars/notes/5.txt")
    assert found(tmp_path)["train"]["pets"] == ["pets/cat/1.png", "pets/dog/2.png"]
    line = "the images of cars/bus/, pets/cat/, pets/dog/ count to the class folders that hold them"
    assert find_layout(tmp_path).remarks[0] == line


def test_folders_that_may_be_splits_by_other_names_are_named(tmp_path: Path) -> None:
    put(tmp_path, "fold1/cat/1.png", "fold1/dog/2.png", "fold2/cat/3.png", "fold2/dog/4.png")
    assert find_layout(tmp_path).classes == ("fold1", "fold2")
    assert "if cat/, dog/ are the classes, name the folders above train/, val/ and test/" in said(tmp_path)


def test_classes_whose_names_look_alike_are_named(tmp_path: Path) -> None:
    layout = find_layout(put(tmp_path, "cat/1.png", "Cat/2.png", "\u200bcat/3.png", "dog/4.png"))
    assert layout.classes == ("Cat", "cat", "dog", "\u200bcat")
    assert layout.remarks == (r"classes of their own, though their names look alike: 'Cat', 'cat', '\\u200bcat'",)


def test_links_in_a_circle_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "images/a/1.png", "images/b/2.png", "recipe.yaml")
    (tmp_path / "images" / "up").symlink_to("..")
    (tmp_path / "images" / "a" / "loop").symlink_to(tmp_path / "images")
    layout = find_layout(tmp_path / "images")
    assert (layout.classes, counts(layout)) == (("a", "b"), {"train": [1, 1]})
    assert layout.remarks == ("left out: links in a circle: 2 (a/loop, up)",)


def test_one_class_of_images_may_be_called_train(tmp_path: Path) -> None:
    assert find_layout(put(tmp_path, "bus/1.png", "train/2.png")).classes == ("bus", "train")
    assert said(tmp_path) == "train/: taken as a class, like the folders beside it"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a/1", "val/a/1", "valid/a/1"], "both val/, valid/ may be the validation split"),
        (["train/a/1", "Train/a/1", "test/a/1"], "both Train/, train/ may be the train split"),
        (["train/a/1", "train/b/1", "cat/1"], "train/ named like splits, but cat/ beside hold images"),
        (["test/1", "cat/1", "dog/1"], "test/ named like splits, but cat/, dog/ beside hold images"),
        (["train/1", "test/1", "cat/1"], "test/, train/ named like splits, but cat/ beside"),
        (["val/a/1", "test/a/1"], "found test/, val/, but no train/"),
        (["train/1", "test/2"], "train: expected a sub-folder of images per class, but found none"),
        (["train/1", "val/a/2"], "train: expected a sub-folder of images per class, but found none"),
        (["train/a/1", "train/b/1", "test/c/1", "test/a/1"], "test/c: class 'c' has no training images"),
        (["train/a/1", "train/b/1", "test/Typo/1"], "Typo: class 'Typo' has no training images"),
        (["seg_train/a/1", "seg_test/a/1"], "are seg_test/, seg_train/ splits"),
        (["train2017/a/1", "val2017/a/1"], "are train2017/, val2017/ splits"),
        (["a/1", "b/2.txt"], r"b: .* found none \(left out: no images by their names: 1 \(b/2.txt\)\)"),
        (["cat/train/1", "cat/test/1", "dog/1"], "cat/test/ is named like a split, but dog/ holds more"),
        (["cat/train/1", "cat/2", "dog/train/1"], "cat/train/ is named like a split, but cat/ holds more"),
        (
            ["cat/test/1", "dog/test/1"],
            "cat/test/ is named like a split, but cat/ holds more than splits, or no train/",
        ),
        (["cat/train/1", "cat/tests/1", "dog/train/1"], "cat/train/ is named like a split, but cat/ holds more"),
        (["train/a/1", "test/a/1"], "at least 2, but got 1"),
        (["a/1"], "at least 2, but got 1"),
        ([], "at least 2, but got 0"),
        (["a/1", "b/notes.txt"], "b: expected images .* but found none"),
        (["train/a/1", "train/b/1", "test/a/1", "test/b/notes.txt"], "test/b: expected images .* but found none"),
    ],
)
def test_what_is_not_clear_is_refused(files: list[str], message: str, tmp_path: Path) -> None:
    put(tmp_path, *(name if name.endswith(".txt") else f"{name}.png" for name in files))
    with pytest.raises(UserError, match=message) as refused:
        find_layout(tmp_path)
    assert "\n" not in str(refused.value)


def test_everything_left_out_is_counted_and_named(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.PNG", "b/3.jfif", "b/4.heic", "b/.5.png", ".DS_Store", "__MACOSX/a/._1.png")
    put(tmp_path, "loose.png", "README", *(f"a/{k}.txt" for k in range(7)))
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "a" / "nothing").mkdir()
    (tmp_path / "a" / "itself.png").symlink_to("itself.png")
    assert counts(find_layout(tmp_path)) == {"train": [1, 2]}
    (line,) = find_layout(tmp_path).remarks
    for part in (
        "hidden: 3 (.DS_Store, __MACOSX, b/.5.png)",
        "no images by their names: 9 (7 .txt, 1 without suffix, 1 .heic: README, a/0.txt, a/1.txt and 6 more)",
        "links to nothing: 2 (a/gone.png, a/itself.png)",
        "empty folders: 1 (a/nothing)",
        "images beside the class folders: 1 (loose.png)",
    ):
        assert part in line


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "1.png", "deep/2.png")
    root = put(tmp_path / "images", "a/0.png", "b/3.png")
    os.symlink(tmp_path / "elsewhere", root / "a" / "more", target_is_directory=True)
    os.symlink(tmp_path / "elsewhere", root / "b" / "same", target_is_directory=True)
    os.symlink(root, root / "b" / "up", target_is_directory=True)
    os.symlink(tmp_path / "elsewhere" / "1.png", root / "b" / "4.png")
    assert found(root)["train"] == {
        "a": ["a/0.png", "a/more/1.png", "a/more/deep/2.png"],
        "b": ["b/3.png", "b/4.png"],
    }
    left_out = "left out: links in a circle: 1 (b/up), linked folders that are read already: 1 (b/same)"
    assert said(root).splitlines() == ["the images of a/more/ count to the class folders that hold them", left_out]


def test_linked_splits_and_classes(tmp_path: Path) -> None:
    put(tmp_path / "disk", "training/a/1.png", "training/b/2.png", "c/3.png")
    (tmp_path / "images").mkdir()
    os.symlink(tmp_path / "disk" / "training", tmp_path / "images" / "train", target_is_directory=True)
    (tmp_path / "images" / "test").mkdir()
    for name in "ab":
        os.symlink(tmp_path / "disk" / "c", tmp_path / "images" / "test" / name, target_is_directory=True)
    with pytest.raises(UserError, match=r"test/b: expected images"):  # both are one folder
        find_layout(tmp_path / "images")
    (tmp_path / "images" / "test" / "b").unlink()
    assert counts(find_layout(tmp_path / "images")) == {"train": [1, 1], "test": [1, 0]}


def test_one_class_in_two_unicode_forms(tmp_path: Path) -> None:
    composed, apart = unicodedata.normalize("NFC", "käfer"), unicodedata.normalize("NFD", "käfer")
    put(tmp_path / "two", f"{composed}/1.png", f"{apart}/2.png", "ant/3.png")
    with pytest.raises(UserError, match=r"'ka\\u0308fer' and 'k\\xe4fer' hold one class, 'käfer'"):
        find_layout(tmp_path / "two")
    put(tmp_path / "one", f"train/{composed}/1.png", "train/ant/2.png", f"test/{apart}/3.png", "test/ant/4.png")
    layout = find_layout(tmp_path / "one")
    assert layout.classes == ("ant", composed)
    assert counts(layout) == {"train": [1, 1], "test": [1, 1]}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (b"caf\xe9", r"caf\\udce9: the name of this class is not UTF-8"),
        (b"a\nb", r"a\\nb: the name of this class holds the character '\\n'"),
        (b"a\tb", r"holds the character '\\t'"),
        ("a\u2028b".encode(), r"holds the character '\\u2028'"),
        (b"\x1b[31m", r"holds the character '\\x1b'"),
    ],
)
def test_class_names_that_no_report_can_show(name: bytes, what: str, tmp_path: Path) -> None:
    put(tmp_path, f"{os.fsdecode(name)}/1.png", "ant/2.png")
    with pytest.raises(UserError, match=what) as refused:
        find_layout(tmp_path)
    assert str(refused.value).isprintable()
