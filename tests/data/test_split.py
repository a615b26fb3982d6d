import numpy as np
import pytest

from erde_nas.data.dataset import Split
from erde_nas.data.split import hold_out, shuffle
from erde_nas.errors import UserError

NAMES = ("ant", "bee", "cow", "dog")


def numbered(labels: np.ndarray) -> Split:
    """One-pixel-high images that carry their own number, so that every image can be followed."""
    numbers = np.arange(len(labels), dtype="<u4")
    return Split(numbers.view(np.uint8).reshape(-1, 1, 1, 4), labels.astype(np.int64))


def numbers_of(split: Split) -> np.ndarray:
    return np.ascontiguousarray(split.images).reshape(-1, 4).view("<u4").ravel()


def uneven(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.repeat(np.arange(4), [400, 57, 10, 2]))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.99])
def test_parts_are_disjoint_complete_and_keep_labels(share: float) -> None:
    labels = uneven(np.random.default_rng(0))
    kept, held = hold_out(numbered(labels), share, "test", NAMES, np.random.default_rng(1))
    everything = np.concatenate([numbers_of(kept), numbers_of(held)])
    assert sorted(everything) == list(range(len(labels)))
    for part in (kept, held):
        np.testing.assert_array_equal(part.labels, labels[numbers_of(part)])


@pytest.mark.parametrize(
    ("share", "expected"),  # of 400, 57, 10 and 2 images, by hand
    [(0.1, [40, 6, 1, 1]), (0.25, [100, 14, 3, 1]), (0.01, [4, 1, 1, 1]), (0.99, [396, 56, 9, 1])],
)
def test_every_class_gives_its_rounded_share(share: float, expected: list[int]) -> None:
    labels = uneven(np.random.default_rng(0))
    _, held = hold_out(numbered(labels), share, "test", NAMES, np.random.default_rng(1))
    assert np.bincount(held.labels).tolist() == expected


def test_same_seed_same_split_other_seed_other_split() -> None:
    split = numbered(uneven(np.random.default_rng(0)))
    first, again, other = (
        numbers_of(hold_out(split, 0.2, "test", NAMES, np.random.default_rng(s))[1]) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("length", [4, 10, 37, 100, 300])
def test_any_prefix_has_the_class_shares_of_the_whole(length: int) -> None:
    labels = uneven(np.random.default_rng(0))
    prefix = shuffle(numbered(labels), np.random.default_rng(2)).labels[:length]
    counts = np.bincount(prefix, minlength=4)
    fair = length * np.bincount(labels) / len(labels)
    assert counts.min() >= 1
    assert np.abs(counts - fair).max() <= 3  # one of every class comes first, which costs the largest up to three


@pytest.mark.parametrize("few", [0, 1])
def test_class_with_too_few_images_is_named(few: int) -> None:
    labels = np.repeat(np.arange(4), [5, 5, few, 5])
    with pytest.raises(UserError, match=f"for validation: class 'cow' has {few} left, at least 2"):
        hold_out(numbered(labels), 0.1, "validation", NAMES, np.random.default_rng(0))
