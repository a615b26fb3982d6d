"""A folder of images as a tree, and the names of the classes in it."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from erde_nas.data.images import walk
from erde_nas.device.bundle_runner import EMPTY, READ_ALREADY, plain
from erde_nas.errors import UserError


@dataclass
class Folder:
    """A folder: the images that lie in it, and the folders in it by name."""

    path: Path
    images: list[Path] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    def below(self) -> Iterator[Path]:
        """Every image in it and in its folders."""
        yield from self.images
        for folder in self.folders.values():
            yield from folder.below()

    def unwrapped(self) -> "Folder":
        """The folder itself, or the only one in it that has folders, where nothing else is there."""
        only = next(iter(self.folders.values()), self)
        if len(self.folders) > 1 or self.images or only.images or not only.folders:
            return self
        return only.unwrapped()


@dataclass(frozen=True)
class Tree:
    """What lies in a folder: the tree of its images, and everything else, by the reason why it is left out."""

    top: Folder
    left_out: dict[str, list[Path]]


def read_tree(root: Path) -> Tree:
    """Raises UserError for a folder that cannot be read."""
    images, left_out = walk(root)
    nodes = {root: Folder(root)}

    def node(path: Path) -> Folder:
        if path not in nodes:
            nodes[path] = node(path.parent).folders.setdefault(path.name, Folder(path))
        return nodes[path]

    for path in images:
        node(path.parent).images.append(path)
    for why, paths in left_out.items():
        for path in paths:
            node(path if why in (EMPTY, READ_ALREADY) else path.parent)
    for folder in nodes.values():
        folder.folders = dict(sorted(folder.folders.items()))
    return Tree(nodes[root], left_out)


def class_folders(place: Folder) -> dict[str, Folder]:
    """The folders in `place` by the names of their classes, in the order of those.

    Raises UserError for names that differ only in their Unicode form, or that `class_name` refuses.
    """
    held: dict[str, Folder] = {}
    for name, folder in place.folders.items():
        known = held.setdefault(class_name(folder.path), folder)
        if known is not folder:
            raise UserError(
                f"{place.path}: the folders {known.path.name!a} and {name!a} hold one class, "
                f"'{class_name(folder.path)}', in two Unicode forms; put their images together"
            )
    return dict(sorted(held.items()))


def class_name(folder: Path) -> str:
    """The folder's name in Unicode's form NFC. Raises UserError where it is no text, or would break a line."""
    for character in folder.name:
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Zl", "Zp"):
            what = "is not UTF-8" if category == "Cs" else f"holds the character {character!a}"
            raise UserError(f"{plain(str(folder))}: the name of this class {what}; rename the folder")
    return unicodedata.normalize("NFC", folder.name)


def alike(classes: Sequence[str]) -> list[str]:
    """One line where names of classes differ only in what is easily overlooked."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
        groups.setdefault(seen.casefold().strip(), []).append(name)
    same = [", ".join(repr(plain(name)) for name in group) for group in groups.values() if len(group) > 1]
    return [f"classes of their own, though their names look alike: {'; '.join(same[:4])}"] if same else []
