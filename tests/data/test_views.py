"""Views: the same pixels for the same (seed, view) whatever happened before, and what each augmentation may do."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch

from erde_nas.data import augment
from erde_nas.data import views as module
from erde_nas.data.dataset import Split
from erde_nas.data.views import Views
from erde_nas.recipe.images import ViewsSection

CPU = torch.device("cpu")
COUNT = 200
ALL = {"crop_padding": 2, "flip": True, "cutout": 3}


@pytest.fixture(scope="module")
def split() -> Split:
    """Images of two channels, 6 high and 5 wide, without a black pixel: what is black was made so."""
    generator = np.random.default_rng(0)
    images = generator.integers(1, 256, (COUNT, 2, 6, 5)).astype(np.uint8)
    return Split(images, np.arange(COUNT, dtype=np.int64) % 7)


def make(split: Split, seed: int = 0, **section: object) -> Views:
    return Views(split, ViewsSection.model_validate(section), seed=seed, device=CPU)


def crops(image: np.ndarray, padding: int) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Every crop of one image (channels, h, w) out of a black border, with its offset."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    for dy, dx in product(range(2 * padding + 1), repeat=2):
        yield (dy, dx), padded[:, dy : dy + height, dx : dx + width]


def test_the_images_themselves_without_augmentation(split: Split) -> None:
    views = make(split)
    for number in (0, 5):
        assert np.array_equal(views.view(number), split.images)
    assert np.array_equal(views.labels, split.labels)
    assert len(views) == COUNT


@pytest.mark.parametrize("section", [{"crop_padding": 2}, {"flip": True}, {"cutout": 3}, ALL])
def test_a_view_keeps_shape_and_type_and_the_originals(split: Split, section: dict[str, object]) -> None:
    before = split.images.copy()
    view = make(split, **section).view(1)
    assert view.dtype == torch.uint8
    assert view.shape == split.images.shape
    assert not np.array_equal(view, split.images)
    assert np.array_equal(split.images, before)


@pytest.mark.parametrize("section", [{"crop_padding": 2}, {"flip": True}, {"cutout": 3}, ALL])
def test_seed_and_number_determine_a_view_whatever_was_asked_before(split: Split, section: dict[str, object]) -> None:
    first = make(split, **section)
    in_order = [first.view(number).clone() for number in range(4)]
    torch.rand(3)
    np.random.default_rng().random(3)
    other = make(split, **section)
    other.order(2)
    for number in (3, 0, 2, 1, 3):
        assert torch.equal(other.view(number), in_order[number])
    assert len({view.numpy().tobytes() for view in in_order}) == 4
    assert not torch.equal(make(split, seed=1, **section).view(0), in_order[0])


def test_a_subset_of_the_augmentations_uses_the_same_shifts(split: Split) -> None:
    """What comes later in a view is drawn later: adding it changes nothing that came before."""
    cropped, both = make(split, crop_padding=2).view(3), make(split, crop_padding=2, flip=True).view(3)
    same = (cropped == both).all(dim=(1, 2, 3))
    mirrored = (cropped.flip(-1) == both).all(dim=(1, 2, 3))
    assert (same | mirrored).all()


def test_every_crop_is_one_of_the_shifted_images_and_all_shifts_occur(split: Split) -> None:
    view = make(split, crop_padding=2).view(0).numpy()
    offsets = []
    for image, got in zip(split.images, view, strict=True):
        matches = [offset for offset, crop in crops(image, 2) if np.array_equal(crop, got)]
        assert len(matches) == 1
        offsets += matches
    assert set(offsets) == set(product(range(5), repeat=2))
    # Uniform: 200 images over 25 offsets; the chi-squared statistic has mean 24 and standard deviation 7.
    counts = np.array([offsets.count(offset) for offset in set(offsets)])
    assert ((counts - 8) ** 2 / 8).sum() < 24 + 4 * 7


def test_shift_is_a_loop_over_the_images(split: Split) -> None:
    shifts = np.random.default_rng(1).integers(0, 7, (COUNT, 2))
    got = augment.shift(torch.from_numpy(split.images), shifts, 3)
    for image, (dy, dx), shifted in zip(split.images, shifts, got, strict=True):
        assert np.array_equal(shifted, dict(crops(image, 3))[dy, dx])


def test_padding_may_hold_the_mirrored_image(split: Split) -> None:
    view = make(split, crop_padding=2, crop_fill="reflect").view(0).numpy()
    black = make(split, crop_padding=2).view(0).numpy()
    for image, crop, other in zip(split.images, view, black, strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
        offsets = [at for at, part in crops(image, 2) if np.array_equal(part, other)]
        assert any(np.array_equal(padded[:, dy : dy + 6, dx : dx + 5], crop) for dy, dx in offsets)


def test_alternating_flips_mirror_each_image_in_every_second_view(split: Split) -> None:
    views = make(split, flip="alternating")
    first, second = views.view(0), views.view(1)
    assert torch.equal(first, second.flip(-1))
    assert torch.equal(first, views.view(2))
    mirrored = (first.numpy() != split.images).any(axis=(1, 2, 3)).mean()
    assert 0.35 < mirrored < 0.65
    assert not torch.equal(first, make(split, seed=1, flip="alternating").view(0))


def test_flips_mirror_left_and_right_in_half_of_the_images(split: Split) -> None:
    view = make(split, flip=True).view(0).numpy()
    mirrored = np.array([np.array_equal(got, image[:, :, ::-1]) for image, got in zip(split.images, view, strict=True)])
    assert np.array_equal(view[~mirrored], split.images[~mirrored])
    assert 70 <= mirrored.sum() <= 130  # of 200; more than four standard deviations


@pytest.mark.parametrize("side", [1, 2, 3, 9])
def test_cutout_is_a_loop_over_the_pixels(split: Split, side: int) -> None:
    generator = np.random.default_rng(side)
    centres = np.stack([generator.integers(0, 6, COUNT), generator.integers(0, 5, COUNT)], 1)
    got = augment.cut_out(torch.from_numpy(split.images), torch.from_numpy(centres), side).numpy()
    for image, (row, column), cut in zip(split.images, centres, got, strict=True):
        expected = image.copy()
        for y, x in product(range(row - side // 2, row - side // 2 + side), range(column - side // 2, 99)):
            if 0 <= y < 6 and 0 <= x < min(5, column - side // 2 + side):
                expected[:, y, x] = 0
        assert np.array_equal(cut, expected)


def test_cutout_blackens_one_rectangle_of_at_most_its_side_in_all_channels(split: Split) -> None:
    black = make(split, cutout=3).view(0).numpy() == 0
    assert np.array_equal(black[:, 0], black[:, 1])
    areas = set()
    for mask in black[:, 0]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns)
        assert np.ptp(rows) == len(rows) - 1
        assert np.ptp(columns) == len(columns) - 1
        areas.add((len(rows), len(columns)))
    assert areas == {(2, 2), (2, 3), (3, 2), (3, 3)}  # centres lie inside, so a corner loses one row and one column


@pytest.mark.parametrize(
    ("section", "epochs", "count"),
    [
        ({}, 30, 1),
        ({"cached_views": 5}, 30, 1),
        ({"cached_views": 5, "flip": True}, 30, 5),
        ({"cached_views": 5, "crop_padding": 1}, 3, 3),
        ({"cached_views": 5, "cutout": 2}, 5, 5),
        ({"flip": True}, 30, 8),
    ],
)
def test_count_is_one_without_augmentation_and_no_more_than_there_are_epochs(
    split: Split, section: dict[str, object], epochs: int, count: int
) -> None:
    assert make(split, **section).count(epochs) == count


def test_the_order_is_a_permutation_of_its_own_in_every_epoch(split: Split) -> None:
    views = make(split, flip=True)
    orders = [views.order(epoch) for epoch in range(6)]
    for order in orders:
        assert order.sort().values.tolist() == list(range(COUNT))
    assert len({tuple(order.tolist()) for order in orders}) == 6
    again = make(split)  # the order does not depend on the augmentation
    again.view(3)
    assert torch.equal(again.order(4), orders[4])
    assert not torch.equal(make(split, seed=1).order(4), orders[4])


def test_eviction_changes_no_view(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = make(split, **ALL)
    expected = [roomy.view(number) for number in range(5)]
    assert roomy.view(2) is expected[2]
    monkeypatch.setattr(module, "KEPT_BYTES", 2 * split.images.nbytes)
    tight = make(split, **ALL)
    for number in (0, 1, 2, 3, 4, 0, 4, 2, 0):
        assert torch.equal(tight.view(number), expected[number])
        assert len(tight._kept) <= 2
    monkeypatch.setattr(module, "KEPT_BYTES", 1)  # one view is kept even where it alone is too large
    assert torch.equal(tight.view(1), expected[1])
    assert len(tight._kept) == 1
