"""Which operating points of a candidate are known in terms of the search's objectives."""

import pytest

from erde_nas.space.trial import Trial, operating_objectives
from tests.space.builders import findings, judged

CURVE = ((0.5, 1.0), (0.7, 2.0), (0.75, 4.0))
ERRORS = ((0.5, 1.0), (1 - 0.7, 2.0), (0.25, 4.0))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((1 - 0.7, 2.0), ERRORS),
        ((2.0 * (1 + 1e-9), 1 - 0.7), tuple((cost, error) for error, cost in ERRORS)),
        ((1 - 0.7, 2.1), ((1 - 0.7, 2.1),)),  # another cost than the curve's, such as the number of parameters
        ((1 - 0.7, 2.0, 3.0), ((1 - 0.7, 2.0, 3.0),)),
        ((), ((),)),
    ],
)
def test_a_curve_is_one_of_objectives_where_the_told_point_lies_on_it(told, expected) -> None:
    assert operating_objectives(told, CURVE) == expected
    assert operating_objectives(told, ()) == (told,)


def test_a_trial_knows_its_points_unless_a_limit_may_exclude_them() -> None:
    found = findings(judged(curve=CURVE))
    assert Trial(0, "s", {}, "complete", (0.25, 4.0), findings=found).points == ERRORS
    assert Trial(0, "s", {}, "complete", (0.25, 4.0), (-0.5,), found).points == ((0.25, 4.0),)
    assert Trial(0, "s", {}, "complete", (0.25, 4.0)).points == ((0.25, 4.0),)
