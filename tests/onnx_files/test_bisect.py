"""Bisection against a look at every choice."""

import math

import pytest

from erde_nas.onnx_files.bisect import first_that


@pytest.mark.parametrize("count", range(9))
def test_finds_the_first_of_those_that_meet_with_few_questions(count):
    for first in range(count + 1):
        asked = []

        def meets(choice, first=first, asked=asked):
            asked.append(choice)
            return choice >= first

        expected = next((choice for choice in range(count) if choice >= first), None)
        assert first_that(range(count), meets) == expected
        assert len(asked) == len(set(asked)) <= math.ceil(math.log2(count + 1)) if count else not asked


def test_what_it_gives_meets_even_where_the_row_is_not_in_order():
    answers = [True, False, True, False, False, True, False, True]
    found = first_that(range(8), lambda choice: answers[choice])
    assert found is not None
    assert answers[found]
