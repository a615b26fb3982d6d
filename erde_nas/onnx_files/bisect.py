"""Bisection over a row of choices."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def first_that(choices: Sequence[T], meets: Callable[[T], bool]) -> T | None:
    """The first choice that meets, or None, asking about log2(n) of them and none twice.

    All before it should fail and all behind it meet; where that is not so (measurements scatter), the result still
    meets.
    """
    low, high = 0, len(choices)
    while low < high:
        middle = (low + high) // 2
        if meets(choices[middle]):
            high = middle
        else:
            low = middle + 1
    return choices[high] if high < len(choices) else None
