"""Which exits are dropped."""

import pytest

from erde_nas.compression.drop_exits import used_exits
from erde_nas.networks.operating_points import OperatingPoint


def point(cost, *fractions):
    return OperatingPoint((0.1,) * (len(fractions) - 1), fractions, 0.9, cost)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([point(1, 0.5, 0.5)], []),
        ([point(1, 0.5, 0.0, 0.5), point(2, 0.2, 0.3, 0.5)], [[0, 2]]),
        ([point(1, 0.5, 0.0, 0.5), point(2, 0.5, 0.0, 0.5)], [[0, 2]]),
        ([point(1, 1.0, 0.0, 0.0), point(2, 0.9, 0.1, 0.0)], [[0, 1], [0]]),
        ([point(2, 0.9, 0.05, 0.05), point(1, 1.0, 0.0, 0.0)], [[0]]),
        ([point(1, 1.0, 0.0)], [[0]]),
        ([point(1, 1.0)], []),
        ([point(1, 0.6, 0.4), point(2, 0.3, 0.7)], [[1]]),  # the median image runs to the end at one of them
        ([point(1, 0.3, 0.0, 0.7)], [[0, 2], [2]]),
        ([point(1, 0.0, 0.0, 1.0)], [[2]]),
    ],
)
def test_exits_that_no_image_takes(points, expected):
    assert used_exits(points) == expected
