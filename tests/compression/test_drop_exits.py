"""Which sets of exits a student is tried with."""

import pytest

from erde_nas.compression.drop_exits import sets_of_exits
from erde_nas.networks.operating_points import OperatingPoint


def point(cost, *fractions):
    return OperatingPoint((0.1,) * (len(fractions) - 1), fractions, 0.9, cost)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([point(1, 0.5, 0.5)], [[0], [1]]),
        ([point(1, 0.09, 0.91, 0.0), point(2, 0.03, 0.97, 0.0)], [[0, 1], [0], [1], [2]]),  # the last used one, too
        ([point(1, 0.5, 0.0, 0.5), point(2, 0.2, 0.3, 0.5)], [[0, 2], [0], [1], [2]]),
        ([point(1, 1.0, 0.0, 0.0), point(2, 0.0, 0.1, 0.9)], [[0], [1, 2], [1], [2]]),
        ([point(1, 1.0, 0.0)], [[0], [1]]),
        ([point(1, 1.0)], []),
        ([point(1, 0.0, 0.0, 1.0)], [[2]]),
    ],
)
def test_sets_of_exits(points, expected):
    assert sets_of_exits(points) == expected
