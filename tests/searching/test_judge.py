"""What a search takes a trained network for, under each objective that a profile may name."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from erde_nas.data.dataset import Split
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.search import SearchSection
from erde_nas.searching.evaluate import judge
from tests.space.builders import ARCH

SURE, WRONG, UNSURE = [9.0, 0.0, 0.0], [0.1, 0.3, 0.0], [0.1, 0.2, 0.0]  # the two others are wrong
FIRST = [*[SURE] * 90, *[WRONG] * 6, *[UNSURE] * 4]  # what the first exit says of 100 images of class 0 ...
SECOND = [*[SURE] * 99, [5.0, 0.0, 0.0]]  # ... and the second


class Says(nn.Module):
    """The network that says these logits, whatever it sees."""

    def __init__(self, *logits: list[list[float]]) -> None:
        super().__init__()
        self.arch, self.logits = ARCH, [torch.tensor(each) for each in logits]
        self.weight = nn.Parameter(torch.zeros(10))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self.logits


def context(profile: HardwareProfile) -> Any:
    validation = Split(np.zeros((100, 1, 8, 8), np.uint8), np.zeros(100, np.int64))
    return SimpleNamespace(
        dataset=SimpleNamespace(validation=validation),
        recipe=SimpleNamespace(search=SearchSection(accuracy_tolerance=0.0)),
        profiles=(profile,),
        exit_rule=ENTROPY,
    )


@pytest.mark.parametrize(("objective", "cost"), [("mean", 1.2), ("p50", 1.0), ("p95", 3.0), ("energy", 1.2)])
def test_a_quantile_is_the_time_of_the_exit_that_it_falls_on(objective: str, cost: float) -> None:
    """90 images leave at 1 ms; the other ten, which the first exit has wrong, at 3 ms."""
    profile = HardwareProfile.model_validate({"name": "mine", "objective": objective})
    found = judge(cast(Any, Says(FIRST, SECOND)), {"mine": (1.0, 3.0)}, context(profile))
    assert found.exit_fractions == (0.9, 0.1)
    assert found.val_accuracy == 1.0
    assert found.cost_ms("mine") == pytest.approx(cost)
    assert found.latency_ms["mine"] == pytest.approx(1.2)
    assert max(found.curve) == pytest.approx((1.0, cost))


def test_thresholds_are_those_of_the_quantile() -> None:
    """Where 96 images leave first, p95 is the time of that exit. The mean would have more points."""
    profile = HardwareProfile.model_validate({"name": "mine", "objective": "p95"})
    found = judge(cast(Any, Says(FIRST, SECOND)), {"mine": (1.0, 3.0)}, context(profile))
    assert list(found.curve) == [pytest.approx((0.94, 1.0)), pytest.approx((1.0, 3.0))]
