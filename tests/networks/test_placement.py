"""Which of a network's cuts are tried as places of exits."""

from dataclasses import dataclass
from itertools import pairwise

from erde_nas.networks.placement import choose_places


@dataclass(frozen=True)
class Cut:
    number: int
    share: float
    stage: str = "8x8"
    kind: str = "map"
    shape: tuple[int, ...] = (16, 8, 8)


def numbers(cuts: list[Cut], most: int) -> list[int]:
    return [place.number for place in choose_places(cuts, most)]  # type: ignore[arg-type]


def test_places_are_spread_over_the_macs() -> None:
    cuts = [Cut(number, number / 100) for number in range(101)]
    found = numbers(cuts, 4)
    assert len(found) == 4
    assert min(after - before for before, after in pairwise(found)) >= 15
    assert 5 <= found[0] <= 25
    assert found[-1] <= 90


def test_ends_of_the_network_are_no_places() -> None:
    assert numbers([Cut(0, 0.01), Cut(1, 0.97), Cut(2, 1.0)], 3) == []


def test_of_equal_cuts_the_last_counts() -> None:
    assert numbers([Cut(0, 0.4), Cut(1, 0.4), Cut(2, 0.4)], 3) == [2]


def test_the_end_of_a_stage_is_preferred_to_its_neighbours() -> None:
    cuts = [Cut(0, 0.46, "8x8"), Cut(1, 0.50, "8x8"), Cut(2, 0.48, "4x4"), Cut(3, 0.6, "4x4")]
    assert numbers(cuts, 1) == [1]


def test_a_place_with_hardly_any_channel_is_left_out() -> None:
    assert numbers([Cut(0, 0.3, shape=(2, 8, 8)), Cut(1, 0.5, kind="tokens", shape=(50, 3))], 3) == []
