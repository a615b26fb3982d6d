"""Limits that nobody can meet, against counts made by hand."""

from typing import Any

import numpy as np
import pytest

from erde_nas.data.dataset import Dataset, Split
from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.space import SpaceSection
from erde_nas.searching import limits
from erde_nas.searching.evaluate import too_slow
from erde_nas.searching.limits import Screen, check_reachable, nothing_feasible
from erde_nas.space.space import Space
from erde_nas.space.trial import Trial
from tests.space.builders import findings, judged

# One 8×8 channel, stem 8, then blocks of two 3×3 convolutions, 8 channels each: MACs up to the head of the first exit,
# which averages globally and has 3 classes.
MACS = 64 * 9 * (1 * 8 + 8 * 8 + 8 * 8) + 8 * 3
# Convolutions and batch norms of stem, two blocks and the second one's projection, and two heads.
PARAMS = (72 + 16) + 2 * (2 * 576 + 2 * 16) + (64 + 16) + 2 * (16 + 8 * 3 + 3)
SPACE = Space(
    SpaceSection(families=("resnet",), depths=((1, 2), (1, 2)), widths=((8, 16), (8, 16)), heads=("gap",)), (1, 8, 8), 3
)
FEW = Split(np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64))
DATASET = Dataset("toy", FEW, FEW, FEW, ("a", "b", "c"), (0.5,), (0.2,), "")


def profile(name: str = "mine", **values: Any) -> HardwareProfile:
    return HardwareProfile.model_validate({"name": name, "limits": values})


@pytest.fixture(autouse=True)
def milliseconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the first exit takes under each profile, in place of measuring it; absent: measuring is an error."""
    taken: dict[str, float] = {}

    def latency(network: Any, profiles: tuple[HardwareProfile, ...], images: Any) -> dict[str, tuple[float, ...]]:
        assert images is FEW.images
        return {one.name: (taken[one.name], 9.0) for one in profiles}

    monkeypatch.setattr(limits, "latency_per_exit", latency)
    return taken


def test_the_counts_by_hand_are_those_of_the_smallest_student() -> None:
    from erde_nas.networks.macs import macs_per_exit, parameter_count
    from erde_nas.networks.network import EarlyExitNetwork

    (arch,) = SPACE.smallest()
    network = EarlyExitNetwork(arch, DATASET.mean, DATASET.std)
    assert macs_per_exit(network)[0] == MACS
    assert parameter_count(network) == PARAMS


def test_without_limits_nothing_is_measured() -> None:
    check_reachable(SPACE, (profile(), profile("other")), DATASET)


@pytest.mark.parametrize(("key", "least"), [("macs", MACS), ("params", PARAMS), ("size_bytes", 4 * PARAMS)])
def test_what_the_smallest_student_needs_is_the_least_limit(
    milliseconds: dict[str, float], key: str, least: int
) -> None:
    milliseconds |= {"free": 5.0, "mine": 5.0}
    check_reachable(SPACE, (profile("free"), profile(**{key: least})), DATASET)
    message = rf"profile mine: no student can keep limits\.{key} {least - 1:g}: .* needs {least:.4g} at its first exit"
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        check_reachable(SPACE, (profile("free"), profile(**{key: least - 1})), DATASET)


def test_a_measured_latency_has_a_fifth_of_room(milliseconds: dict[str, float]) -> None:
    milliseconds |= {"fast": 0.5, "mine": 1.2}
    check_reachable(SPACE, (profile("fast", latency_ms=0.5), profile(latency_ms=1.0)), DATASET)
    milliseconds["mine"] = 1.21
    with pytest.raises(UserError, match=r"profile mine: no student can keep limits\.latency_ms 1: .* needs 1\.21 at"):
        check_reachable(SPACE, (profile("fast", latency_ms=0.5), profile(latency_ms=1.0)), DATASET)


def trial(number: int, fast_ms: float, slow_ms: float, macs: float) -> Trial:
    what = judged(latency_ms={"fast": fast_ms, "slow": slow_ms}, macs=macs, params=5000, size_bytes=20_000)
    return Trial(number, f"s{number}", {}, "complete", (0.1, macs), findings=findings(what))


def test_where_nothing_is_feasible_every_limit_is_counted() -> None:
    trials = [trial(0, 0.5, 3.0, 1e6), trial(1, 1.5, 2.5, 3e6), trial(2, 2.5, 4.0, 2e6)]
    text = nothing_feasible(
        trials, (profile("fast", latency_ms=1.0, macs=1e6), profile("slow", latency_ms=2.0, size_bytes=20_000))
    )
    assert text == (
        "none of 3 candidates keeps all limits; fast: 2 exceed limits.latency_ms 1 (least: 0.5); "
        "fast: 2 exceed limits.macs 1e+06 (least: 1e+06); slow: 3 exceed limits.latency_ms 2 (least: 2.5); "
        "slow: 0 exceed limits.size_bytes 20000 (least: 2e+04); raise one in a new folder, or search longer"
    )


def test_the_screen_admits_what_could_keep_the_limits_and_counts_the_rest() -> None:
    """The smallest student's counts by hand are the limit: it alone passes, by its first exit."""
    screen = Screen((profile("free"), profile("a", macs=MACS), profile("b", params=PARAMS)), DATASET)
    (smallest,) = SPACE.smallest()
    wide = {**{name: choices[0] for name, choices in SPACE.parameters.items()}, "width1": 16, "exit0.0": "gap"}
    wider = {**wide, "width0": 16}
    assert screen.admits(smallest)
    assert not screen.admits(SPACE.decode(wide)), "the first exit costs the same, but there are more parameters"
    assert not screen.admits(SPACE.decode(wider))
    assert screen.summary() == (
        f" (of 3 that were drawn, limits.params {PARAMS:g} of b excludes 2, limits.macs {MACS:g} of a excludes 1)"
    )


def test_without_cheap_limits_the_screen_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EarlyExitNetwork", None)
    screen = Screen((profile(), profile("slow", latency_ms=1.0)), DATASET)
    assert screen.admits(SPACE.smallest()[0])
    assert screen.summary() == ""


def test_too_slow_is_what_its_first_exit_cannot_keep() -> None:
    profiles = (profile("free"), profile("mine", latency_ms=1.0))
    assert too_slow({"free": (9.0, 10.0), "mine": (1.19, 5.0)}, profiles) == ""
    assert too_slow({"free": (9.0, 10.0), "mine": (1.21, 5.0)}, profiles) == (
        "not trained: limits.latency_ms 1 of mine, but the first exit takes 1.21 ms"
    )
