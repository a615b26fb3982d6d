"""Stratified, seeded splits.

scikit-learn's splitter is not used because it refuses parts smaller than the number of classes, which short runs
need, and may leave a rare class out of a part. Every split that leaves here is interleaved: any prefix of it has
about the class shares of the whole, so that "the first n images" is a fair sample.
"""

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.on_disk import subset
from erde_nas.errors import UserError


def hold_out(
    split: Split, share: float, part: str, classes: tuple[str, ...], rng: np.random.Generator
) -> tuple[Split, Split]:
    """Part a split into (kept, held out), disjoint and together the whole.

    Of a class with n images round(share * n) are held out, but at least one, and at least one is kept. Raises
    UserError that names `part` and the class if a class has fewer than two images.
    """
    counts = np.bincount(split.labels, minlength=len(classes))  # (classes,)
    poorest = int(counts.argmin())
    if counts[poorest] < 2:
        raise UserError(
            f"too few images to keep {share:g} of each class for {part}: class '{classes[poorest]}' has "
            f"{counts[poorest]} left, at least 2 are needed; add images or leave the class out"
        )
    held = np.clip(np.floor(share * counts + 0.5).astype(np.int64), 1, counts - 1)  # (classes,)
    order = rng.permutation(len(split))
    is_held = _rank_in_class(split.labels[order]) < held[split.labels[order]]
    return _interleave(split, order[~is_held]), _interleave(split, order[is_held])


def shuffle(split: Split, rng: np.random.Generator) -> Split:
    """The same images in a random order, interleaved by class."""
    return _interleave(split, rng.permutation(len(split)))


def _interleave(split: Split, order: np.ndarray) -> Split:
    """The images of `order` (m,), with the k-th of a class's n images about k / n of the way to the end.

    At equal positions the given order decides; the first images hold one of every class.
    """
    labels = split.labels[order]
    position = _rank_in_class(labels) / np.bincount(labels)[labels]  # (m,) in [0, 1)
    order = order[np.argsort(position, kind="stable")]
    return subset(split, order)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """For each label the number of equal labels before it, (n,) -> (n,)."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))[:-1]])  # (classes,)
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - starts[labels[by_class]]
    return rank
