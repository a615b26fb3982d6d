"""What the sub-folders of a folder of images are: classes; splits with the classes inside; classes with splits inside.

Splits are known by their names (`part_of`). What can be read in two ways is refused. docs/data.md lists the layouts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from erde_nas.data.parts import FILLERS, PARTS, WORDS, part_of, without_test, words_of
from erde_nas.data.tree import Folder, Tree, alike, class_folders, class_name, read_tree
from erde_nas.device.bundle_runner import left_out_text, plain
from erde_nas.errors import UserError

_UNSORTED = FILLERS | {"all", "unknown", "unlabelled", "unlabeled"}

Classes = dict[str, Folder]  # by the name of the class


@dataclass(frozen=True)
class Layout:
    """The images of each split with their labels, in the order of PARTS, and what a user should know about them."""

    listings: dict[str, list[tuple[Path, int]]]
    classes: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Splits:
    """The classes of each split, how that was read, and the folders whose images have no class."""

    parts: dict[str, Classes]
    remarks: tuple[str, ...] = ()
    unused: tuple[Folder, ...] = ()


def find_layout(root: Path) -> Layout:
    """What lies in `root`. Raises UserError where that is not clear, or where a class has no images."""
    tree = read_tree(root)
    top = tree.top.unwrapped()
    splits = _splits_on_top(top) or _splits_below_classes(top) or _Splits({"train": class_folders(top)})
    classes = tuple(splits.parts["train"])
    if len(classes) < 2:
        raise UserError(f"{top.path}: expected a sub-folder of images per class, at least 2, but got {len(classes)}")
    listings = {part: _listing(splits.parts[part], classes, tree) for part in PARTS if part in splits.parts}
    used = {path for listing in listings.values() for path, _ in listing}
    used.update(path for folder in splits.unused for path in folder.below())
    left_out = dict(tree.left_out)
    if strays := [path for path in tree.top.below() if path not in used]:
        left_out["images beside the class folders"] = strays
    remarks = [] if top is tree.top else [f"{_and([str(top.path.relative_to(root))])} alone is taken as the data set"]
    remarks += [*splits.remarks, *_about_sub_folders(splits.parts, root), *alike(classes)]
    return Layout(listings, classes, (*remarks, *([left_out_text(left_out, root)] if left_out else [])))


def _splits_on_top(top: Folder) -> _Splits | None:
    """Splits with the classes inside; None where there are none."""
    found = {name: part for name in top.folders if (part := part_of(name))}
    others = [folder for name, folder in top.folders.items() if name not in found and any(folder.below())]
    if not found:
        _refuse_near_splits(top)
        return None
    if set(found.values()) == {"train"} and others and not any(top.folders[name].folders for name in found):
        return _Splits({"train": class_folders(top)}, (f"{_and(found)}: taken as a class, like the folders beside it",))
    if others:
        raise UserError(
            f"{top.path}: {_and(found)} named like splits, but {_and(folder.path.name for folder in others)} beside "
            "hold images, too; classes and splits do not mix: rename the ones, or move the others elsewhere"
        )
    places = _one_each(top, found)
    if "train" not in places:
        raise UserError(f"{top.path}: found {_and(found)}, but no train/; add it, or rename what holds training images")
    train = class_folders(places["train"].unwrapped())
    if not train:
        raise UserError(
            f"{places['train'].path}: expected a sub-folder of images per class, but found none; sort its images into "
            "classes"
        )
    held_out = {part: _sorted_into(places[part], set(train)) for part in places if part != "train"}
    unused = tuple(places[part] for part, classes in held_out.items() if not classes)
    parts = {"train": train, **{part: classes for part, classes in held_out.items() if classes}}
    parts, remark = _said(parts, places)
    return _Splits(parts, (remark, *map(_unsorted, unused)), unused)


def _refuse_near_splits(top: Folder) -> None:
    """Raises UserError where names hold the words of several splits without being such names: seg_train, val2017."""
    kinds = {name: found for name in top.folders if (found := {WORDS[w] for w in _near(name) if w in WORDS})}
    if {"train"} < set().union(*kinds.values()):
        raise UserError(
            f"{top.path}: are {_and(kinds)} splits? Rename them train/, val/ and test/, or otherwise if not"
        )


def _near(name: str) -> list[str]:
    """The words of a name without the numbers at their ends: train2017, val_1."""
    return [word.strip("0123456789").removesuffix("set") for word in words_of(name)]


def _one_each(place: Folder, found: Mapping[str, str]) -> dict[str, Folder]:
    """The folder of each split. Raises UserError where there are two."""
    parts: dict[str, Folder] = {}
    for name, part in found.items():
        known = parts.setdefault(part, place.folders[name])
        if known is not place.folders[name]:
            raise UserError(
                f"{place.path}: both {_and((known.path.name, name))} may be the {part} split; remove or rename one"
            )
    return parts


def _sorted_into(split: Folder, known: set[str]) -> Classes:
    """The class folders of a held-out split; none where its images are not sorted into classes."""
    inside = split.unwrapped()
    only = next(iter(inside.folders)) if len(inside.folders) == 1 else ""
    if only and class_name(inside.path / only) not in known and (part_of(only) or only.lower() in _UNSORTED):
        return {}
    return class_folders(inside)


def _unsorted(folder: Folder) -> str:
    count = sum(1 for _ in folder.below())
    why = f"its {count} images are not sorted into classes" if count else "it holds no images"
    return f"{_and([folder.path.name])}: not used, since {why}"


def _said(parts: dict[str, Classes], taken: dict[str, Folder]) -> tuple[dict[str, Classes], str]:
    return without_test(parts, {part: _and([taken[part].path.name]) for part in parts})


def _splits_below_classes(top: Folder) -> _Splits | None:
    """Classes with the splits inside; None where no class holds a folder that is named like a split."""
    parts: dict[str, Classes] = {part: {} for part in PARTS}
    found = {name: {n: p for n in folder.folders if (p := part_of(n))} for name, folder in top.folders.items()}
    if not any(found.values()):
        return None
    for name, folder in class_folders(top).items():
        inside = _one_each(folder, found[folder.path.name])
        named = next(f"{n}/{next(iter(splits))}" for n, splits in found.items() if splits)
        if "train" not in inside or folder.images or len(inside) < len(folder.folders):
            raise UserError(
                f"{top.path}: {_and([named])} is named like a split, but {_and([folder.path.name])} holds more than "
                "splits, or no train/; give every class the same splits and nothing beside, or rename the folder"
            )
        for part, place in inside.items():
            parts[part][name] = place
    parts = {part: classes for part, classes in parts.items() if classes}
    parts, remark = _said(parts, {part: next(iter(classes.values())) for part, classes in parts.items()})
    return _Splits(parts, (f"{remark}; below every class",))


def _about_sub_folders(parts: Mapping[str, Classes], root: Path) -> list[str]:
    """One line where classes hold folders with images: what these are taken for, and what else they might be."""
    below = [sub for classes in parts.values() for folder in classes.values() for sub in _with_images(folder)]
    if not below:
        return []
    train = parts["train"].values()
    inside = {tuple(sub.path.name for sub in _with_images(folder)) for folder in train}
    same = len(parts) == 1 and len(inside) == 1 and len(next(iter(inside))) > 1
    else_ = f"; if {_and(next(iter(inside)))} are the classes, name the folders above train/, val/ and test/"
    shown = [str(folder.path.relative_to(root)) for folder in below]
    return [f"the images of {_and(shown)} count to the class folders that hold them{else_ if same else ''}"]


def _with_images(folder: Folder) -> list[Folder]:
    return [sub for sub in folder.folders.values() if any(sub.below())]


def _listing(folders: Classes, classes: tuple[str, ...], tree: Tree) -> list[tuple[Path, int]]:
    """The images of one split with their labels."""
    listing: list[tuple[Path, int]] = []
    for name, folder in folders.items():
        if name not in classes:
            raise UserError(f"{folder.path}: class '{name}' has no training images; remove it or add it to train/")
        images = sorted(folder.below())
        if not images:
            found = {why: [p for p in paths if p.is_relative_to(folder.path)] for why, paths in tree.left_out.items()}
            found = {why: paths for why, paths in found.items() if paths}
            only = f" ({left_out_text(found, tree.top.path)})" if found else ""
            raise UserError(
                f"{folder.path}: expected images (.png, .jpg and others), but found none{only}; add some or remove it"
            )
        listing += [(path, classes.index(name)) for path in images]
    return listing


def _and(folders: Iterable[str]) -> str:
    """The names of folders, a few of them: 'train/, val/'."""
    shown = [f"{plain(name)}/" for name in folders]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
