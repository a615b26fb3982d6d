import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.kind import kind_of
from erde_nas.data.load import describe, load_dataset
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection
from erde_nas.registry import DATASETS


def images_of(*splits: Split) -> list[bytes]:
    return [image.tobytes() for split in splits for image in split.images]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DatasetSection(name="digits"))


def test_digits_are_enlarged_smoothly(digits: Dataset) -> None:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    # Doubling with pixel centres aligned is what scipy calls grid_mode; it is an independent implementation.
    bunch = load_digits()
    large = [zoom(image, 2, order=1, mode="nearest", grid_mode=True) * 255 / 16 for image in bunch.images]
    expected = {np.rint(image).astype(np.uint8).tobytes() for image in large}
    got = images_of(digits.train, digits.validation, digits.test)
    assert len(got) == 1797
    assert len(expected - set(got)) <= 5  # a value of exactly one half may round either way


def test_digits_split_is_complete_stratified_and_typed(digits: Dataset) -> None:
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part) for part in parts] == [1293, 145, 359]
    totals = sum(np.bincount(part.labels) for part in parts)
    assert totals.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # scikit-learn's description
    assert np.abs(np.bincount(digits.test.labels) - 0.2 * totals).max() <= 0.5
    assert digits.classes == tuple("0123456789")
    for part in parts:
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64
        assert part.images.shape == (len(part), 1, 16, 16)
        assert part.images.flags.writeable


def test_mean_and_std_are_those_of_train(digits: Dataset) -> None:
    pixels = digits.train.images / 255
    np.testing.assert_allclose(digits.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(digits.std, pixels.std(axis=(0, 2, 3)), rtol=1e-12)


def test_same_section_same_data_other_seed_other_split(digits: Dataset) -> None:
    again = load_dataset(DatasetSection(name="digits"))
    assert again.fingerprint == digits.fingerprint
    np.testing.assert_array_equal(again.train.images, digits.train.images)
    other = load_dataset(DatasetSection(name="digits", seed=1))
    assert other.fingerprint != digits.fingerprint
    assert set(images_of(other.test)) != set(images_of(digits.test))


def test_fingerprint_covers_pixels_labels_and_split(digits: Dataset) -> None:
    digest = hashlib.sha256()
    for part in (digits.train, digits.validation, digits.test):
        digest.update(str(part.images.shape).encode() + part.images.tobytes() + part.labels.tobytes())
    assert digits.fingerprint == digest.hexdigest()


def test_another_validation_share_leaves_test_alone(digits: Dataset) -> None:
    other = load_dataset(DatasetSection(name="digits", validation=0.3))
    np.testing.assert_array_equal(other.test.images, digits.test.images)


@pytest.mark.parametrize(("limit", "validation"), [(90, 10), (100, 12), (10, 2), (100_000, 145)])
def test_train_limit_shortens_and_moves_nothing(limit: int, validation: int, digits: Dataset) -> None:
    short = load_dataset(DatasetSection(name="digits", train_limit=limit))
    assert len(short.train) == min(limit, 1293)
    assert len(short.validation) == validation
    np.testing.assert_array_equal(short.train.images, digits.train.images[: len(short.train)])
    np.testing.assert_array_equal(short.validation.images, digits.validation.images[: len(short.validation)])
    np.testing.assert_array_equal(short.test.images, digits.test.images)
    counts = np.bincount(short.train.labels, minlength=10)
    assert np.abs(counts - len(short.train) / 10).max() <= max(1, 0.1 * counts.mean())


def test_train_limit_below_the_classes_is_refused() -> None:
    with pytest.raises(UserError, match=r"train_limit must be at least 10.* but is 9"):
        load_dataset(DatasetSection(name="digits", train_limit=9))


def test_image_size_is_refused_where_it_would_be_ignored() -> None:
    with pytest.raises(UserError, match="image_size belongs to folder, not to 'digits', but is 32"):
        load_dataset(DatasetSection(name="digits", image_size=32))


def test_one_value_everywhere_is_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), np.uint8)
    images[:, 1] = 7
    np.savez(tmp_path / "flat.npz", images=images, labels=np.arange(40) % 2)
    with pytest.raises(UserError, match="channel 1 has one and the same value"):
        load_dataset(DatasetSection(name="npz", path="flat.npz"), tmp_path)


def test_description_is_plain(digits: Dataset) -> None:
    description = describe(digits)
    assert description["image_size"] == 16
    assert (description["train"], description["validation"], description["test"]) == (1293, 145, 359)
    assert description["fingerprint"] == digits.fingerprint


def test_official_test_split_keeps_its_order(tmp_path: Path, write_fashion: Callable[..., Path]) -> None:
    write_fashion(tmp_path / "fashion-mnist", zipped=True)
    dataset = load_dataset(DatasetSection(name="fashion-mnist", validation=0.25), tmp_path)
    assert dataset.test.images[:, 0, 2, 3].tolist() == list(range(20))
    both = np.concatenate([dataset.train.images, dataset.validation.images])[:, 0, 2, 3]
    assert sorted(both) == list(range(40))
    assert np.bincount(dataset.validation.labels).tolist() == [1] * 10


def test_a_reader_for_every_name() -> None:
    for name in DATASETS:
        kind = kind_of(name)
        assert callable(kind.read)
        assert kind.source is None or kind.source.name == name


def test_needs_no_torch() -> None:
    code = "import sys, erde_nas.data.load, erde_nas.data.fetch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("limit", [None, 100])
def test_nothing_is_kept_back_with_a_share_of_0(limit: int | None) -> None:
    """All images but the test's are trained on; a tenth of them, of all classes alike, stands for validation."""
    kept, whole = (
        load_dataset(DatasetSection(name="digits", validation=share, train_limit=limit)) for share in (0.1, 0.0)
    )
    assert len(whole.train) == (limit or 1797 - 359)
    assert len(whole.validation) == (10 if limit else 144)
    assert images_of(whole.test) == images_of(kept.test)
    assert set(images_of(whole.validation)) <= set(images_of(whole.train))
    counts = np.bincount(whole.validation.labels, minlength=10)
    assert (abs(counts - counts.mean()) < 2).all()
