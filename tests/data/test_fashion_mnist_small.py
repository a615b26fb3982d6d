"""The embedded subset of Fashion-MNIST: its pixels by their hash, and against the official files where they are."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from erde_nas.data import fashion_mnist_small as small
from erde_nas.data.fashion_mnist import CLASSES, read_fashion_mnist
from erde_nas.data.load import load_dataset
from erde_nas.data.raw import Raw
from erde_nas.errors import DataMissing, UserError
from erde_nas.recipe.images import DatasetSection

SECTION = DatasetSection(name="fashion-mnist-small")


@pytest.fixture(scope="module")
def raw() -> Raw:
    return small.read_fashion_mnist_small(SECTION, None)


def test_pixels_are_those_of_the_hash(raw: Raw) -> None:
    assert raw.test is not None
    parts = [
        split.images[split.labels == label].transpose(0, 1, 3, 2).tobytes()
        for label in range(10)
        for split in (raw.train, raw.test)
    ]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == small.SHA256


def test_classes_are_balanced_and_no_test_image_is_trained_on(raw: Raw) -> None:
    assert raw.test is not None
    assert raw.classes == CLASSES
    assert np.bincount(raw.train.labels).tolist() == [640] * 10
    assert np.bincount(raw.test.labels).tolist() == [200] * 10
    assert raw.train.images.shape[1:] == raw.test.images.shape[1:] == (1, 28, 28)
    seen = {image.tobytes() for image in raw.train.images}
    assert not seen & {image.tobytes() for image in raw.test.images}


def test_images_are_the_first_official_ones_of_each_class(raw: Raw) -> None:
    try:
        official = read_fashion_mnist(DatasetSection(name="fashion-mnist"), None)
    except DataMissing:
        pytest.skip("Fashion-MNIST is not installed")
    for split, whole in ((raw.train, official.train), (raw.test, official.test)):
        assert split is not None
        assert whole is not None
        for label in range(10):
            images = split.images[split.labels == label]
            np.testing.assert_array_equal(images, whole.images[whole.labels == label][: len(images)])


def test_it_loads_as_any_other_and_nothing_looks_wrong() -> None:
    dataset = load_dataset(DatasetSection(name="fashion-mnist-small", validation=0.2))
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [5120, 1280, 2000]
    assert dataset.remarks == ()


def test_file_is_small_and_its_licence_lies_beside_it() -> None:
    assert small.FILE.stat().st_size <= 3_000_000
    licence = (small.FILE.parent / "LICENSE-fashion-mnist").read_text()
    assert "MIT License (MIT) Copyright © [2017] Zalando SE" in licence


@pytest.mark.parametrize("keep", [0, 1000])
def test_damaged_package_is_named(keep: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.xz"
    broken.write_bytes(small.FILE.read_bytes()[:keep])
    monkeypatch.setattr(small, "FILE", broken)
    with pytest.raises(UserError, match=r"broken\.xz: cannot be read .*install erde-nas again"):
        small.read_fashion_mnist_small(SECTION, None)
