"""What became of test images, counted by hand."""

import numpy as np

from erde_nas.results.answers import answers_on_test


def test_counts_by_hand() -> None:
    """Two exits, four images of three classes. Images 0 and 2 leave at exit 0, where both say class 0."""
    first = [[9.0, 0, 0], [0, 0, 0], [9, 0, 0], [0, 0, 0]]
    second = [[0.0, 9, 0], [0, 9, 0], [0, 0, 0], [0, 0, 2]]
    found = answers_on_test(np.array([first, second]), np.array([0, 1, 1, 2]), np.array([0, 1, 0, 1]))
    assert found.left == (2, 2)
    assert found.right == (1, 2)
    assert found.class_right == (1, 1, 1)
    assert found.confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 1))
    sure = round(float(np.exp(9) / (np.exp(9) + 2)), 4)
    half = round(float(np.exp(2) / (np.exp(2) + 2)), 4)
    assert found.examples == (((0, 0, 0), (2, 1, 0)), ((1, 1, 1), (3, 2, 2)))  # the right ones first
    assert found.calibration == (((2, sure, 1),), ((1, half, 1), (1, sure, 1)))


def test_every_image_is_counted_once_however_sure() -> None:
    rng = np.random.default_rng(0)
    logits, labels = 8 * rng.normal(size=(3, 500, 7)), rng.integers(0, 7, 500)
    logits[:, :5] = 1000 * np.eye(7)[labels[:5]]  # a confidence of exactly 1
    taken = rng.integers(0, 3, 500)
    found = answers_on_test(logits, labels, taken)
    assert sum(found.left) == 500
    assert np.sum(found.confusion) == 500
    assert sum(found.right) == sum(found.class_right) == np.trace(found.confusion)
    for exit_, bins in enumerate(found.calibration):
        assert sum(count for count, _, _ in bins) == found.left[exit_]
        assert sum(right for _, _, right in bins) == found.right[exit_]


def test_many_classes_are_not_listed() -> None:
    logits, labels = np.zeros((1, 4, 101)), np.array([0, 1, 2, 3])
    found = answers_on_test(logits, labels, np.zeros(4, int))
    assert found.class_right == ()
    assert found.confusion == ()
    assert found.left == (4,)
