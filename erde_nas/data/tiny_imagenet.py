"""Tiny ImageNet in its official layout, the zip unpacked (http://cs231n.stanford.edu/tiny-imagenet-200.zip).

train/<wnid>/images/*.JPEG; val/images/*.JPEG with the classes in val/val_annotations.txt. The labels of test/ were
never published, so val/ is the test split, as usual.
"""

from pathlib import Path

import numpy as np

from erde_nas.data.images import list_images, read_images
from erde_nas.data.kind import DatasetKind
from erde_nas.data.locate import locate
from erde_nas.data.official import Remote, Source, damaged
from erde_nas.data.raw import Raw, official_split
from erde_nas.recipe.images import DatasetSection

_SOURCE = Source(
    name="tiny-imagenet",
    folders=("tiny-imagenet-200",),
    needs=("train", "val/images", "val/val_annotations.txt"),
    files=(
        Remote("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de", 248_100_043),
    ),
    note="Le and Yang 2015, Tiny ImageNet Visual Recognition Challenge; ImageNet's terms (research only)",
)


def read_tiny_imagenet(section: DatasetSection, data_dir: Path | None) -> Raw:
    """100,000 training and 10,000 test images, 64x64 RGB, 200 classes. Raises UserError on missing or damaged files."""
    folder = locate(_SOURCE, data_dir)
    wnids = sorted(child.name for child in (folder / "train").iterdir() if child.is_dir())
    train = [(path, label) for label, wnid in enumerate(wnids) for path in list_images(folder / "train" / wnid)]
    if not train:
        raise damaged(folder / "train", "expected <wnid>/images/*.JPEG, but found no images", _SOURCE)
    test = _annotations(folder / "val" / "val_annotations.txt", {wnid: label for label, wnid in enumerate(wnids)})
    images = read_images([path for path, _ in train + test], channels=3)  # some files are grayscale
    labels = np.array([label for _, label in train + test])
    cut = len(train)
    return Raw(
        train=official_split(images[:cut], labels[:cut], len(wnids), folder / "train", _SOURCE),
        test=official_split(images[cut:], labels[cut:], len(wnids), folder / "val", _SOURCE),
        classes=_class_names(folder / "words.txt", wnids),
    )


def _annotations(path: Path, label_of: dict[str, int]) -> list[tuple[Path, int]]:
    """Images and labels of val/: lines of file name, wnid and a box, parted by tabs."""
    listing: list[tuple[Path, int]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        name, wnid = ([*line.split("\t"), "", ""])[:2]
        image = path.parent / "images" / name
        if wnid not in label_of:
            raise damaged(path, f"line {number}: expected a file name and a class of train/, but got '{line}'", _SOURCE)
        if not image.is_file():
            raise damaged(path, f"line {number}: the image {image} does not exist", _SOURCE)
        listing.append((image, label_of[wnid]))
    if not listing:
        raise damaged(path, "expected one line per image of val/, but it is empty", _SOURCE)
    return listing


def _class_names(path: Path, wnids: list[str]) -> tuple[str, ...]:
    """The first English word for each wnid, or the wnids where words.txt is absent or its words are ambiguous."""
    if not path.exists():
        return tuple(wnids)
    pairs = (line.partition("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    words = {wnid: text.split(",")[0].strip() for wnid, _, text in pairs}
    names = tuple(words.get(wnid) or wnid for wnid in wnids)
    return names if len(set(names)) == len(names) else tuple(wnids)


_LICENCE = "ImageNet's terms of access: non-commercial research and education"
TINY_IMAGENET = DatasetKind(read_tiny_imagenet, _LICENCE, _SOURCE)
