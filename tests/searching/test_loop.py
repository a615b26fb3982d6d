"""The search loop under a limit on latency, on a device that takes exactly so long for each operation."""

import gc
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from optuna.trial import FrozenTrial

from erde_nas.data.dataset import Dataset, Split
from erde_nas.measurement.latency_features import FEATURES, segment_features
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.progress.meter import Meter
from erde_nas.recipe.images import DatasetSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import CompressSection, FinishSection, Recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.run.context import RunContext
from erde_nas.run.folder import open_run
from erde_nas.searching import evaluate
from erde_nas.searching.loop import explore
from erde_nas.searching.workers.interface import Evaluated, Pool
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial
from tests.space.builders import findings, judged

SHORT = OptimizerSection(epochs=1)
FEW = Split(np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64))
DATASET = Dataset("toy", FEW, FEW, FEW, ("a", "b", "c"), (0.5,), (0.2,), "pixels")
PROFILES = (HardwareProfile.model_validate({"name": "mine", "limits": {"latency_ms": 0.04}}),)
LOOKED_AT = (4, 25, 39)  # numbers of candidates
COSTS = {"first segments": 0.02, "later segments": 0.005, "convolutions": 0.003, "convolution MACs": 1e-7}


def recipe(trials: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "toy",
            "dataset": DatasetSection(name="digits"),
            "space": SpaceSection(depths=((1, 2), (1, 2)), widths=((8, 16, 32), (16, 32)), families=("resnet", "vgg")),
            "train": SHORT,
            "finish": FinishSection(train=SHORT),
            "compress": CompressSection(train=SHORT),
            "search": {"trials": trials, "searcher": "random"},
        }
    )


SPACE = Space(recipe(1).space, (1, 8, 8), 3)


@cache
def device(arch: Arch) -> tuple[float, ...]:
    """Milliseconds of leaving at each exit."""
    total = segment_features(EarlyExitNetwork(arch, DATASET.mean, DATASET.std)).cumsum(0)
    return tuple(sum(cost * row[FEATURES.index(name)] for name, cost in COSTS.items()) for row in total.tolist())


def hopeless(arch: Arch) -> bool:
    return bool(evaluate.too_slow({"mine": device(arch)}, PROFILES))


class DevicePool:
    """Measures; trains nothing: what is fast enough is said to be wrong on a third."""

    size = 1

    def __init__(self) -> None:
        self.kept: dict[int, int] = {}  # trials that are in memory, in whatever form, by number of candidates
        self.waiting: list[Proposal] = []
        self.measured: list[Arch] = []

    @property
    def busy(self) -> int:
        return len(self.waiting)

    def submit(self, proposal: Proposal, student: str) -> None:
        self.waiting.append(proposal)

    def next(self, timeout_s: float) -> Evaluated:
        if len(self.measured) in LOOKED_AT:
            kept = sum(issubclass(type(known), Trial | FrozenTrial) for known in gc.get_objects())
            self.kept[len(self.measured)] = kept
        proposal = self.waiting.pop()
        arch = SPACE.decode(proposal.params)
        self.measured.append(arch)
        state, objectives = ("failed", ()) if hopeless(arch) else ("complete", (0.3, device(arch)[-1]))
        what = None if hopeless(arch) else judged((0.7,), latency_ms={"mine": device(arch)[-1]})
        found = findings(what, arch, {"mine": device(arch)})
        return Evaluated(
            Trial(0, arch.id, proposal.params, cast(Any, state), objectives, (), found, attrs=proposal.attrs)
        )


def search(folder: Path, trials: int) -> tuple[list[Arch], dict[str, Any]]:
    """What was measured in this part of the search, and the manifest after it."""
    pool = DevicePool()
    return pool.measured, searched(folder, trials, pool)


def searched(folder: Path, trials: int, pool: DevicePool) -> dict[str, Any]:
    """The manifest after this part of the search."""
    with open_run(folder, recipe(trials), PROFILES, {"dataset": DATASET.fingerprint}) as store:
        store.open_study(("error", "macs"), SPACE)
        context = SimpleNamespace(
            recipe=recipe(trials), profiles=PROFILES, dataset=DATASET, workers=1, training_seconds=lambda options: 1.0
        )
        meter = Meter(tell=lambda share, text: None)
        explore(RunContext(store, cast(Any, context), SPACE, meter), cast(Pool, pool))
    return cast(dict[str, Any], json.loads((folder / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Arch], dict[str, Any]]:
    return search(tmp_path_factory.mktemp("whole") / "run", 24)


def test_slow_candidates_are_measured_until_the_model_knows_them(whole: tuple[list[Arch], dict[str, Any]]) -> None:
    """About half of the space is too slow."""
    measured, manifest = whole
    assert sum(map(hopeless, measured[:12])) >= 5
    assert sum(map(hopeless, measured[-6:])) <= 2
    assert manifest["latency_skipped"]["mine"]
    assert not {arch.id for arch in measured} & set(manifest["latency_skipped"]["mine"])


def test_a_search_that_was_interrupted_measures_the_same(
    whole: tuple[list[Arch], dict[str, Any]], tmp_path: Path
) -> None:
    first, _ = search(tmp_path / "run", 15)
    second, manifest = search(tmp_path / "run", 24)
    assert [arch.id for arch in first + second] == [arch.id for arch in whole[0]]
    assert manifest["latency_skipped"] == whole[1]["latency_skipped"]


@pytest.mark.parametrize("continued", [False, True])
def test_a_search_keeps_no_trial_that_it_has_learnt_from(tmp_path: Path, continued: bool) -> None:
    """Random search learns nothing: what is in memory late is what was there early."""
    pool = DevicePool()
    if continued:
        searched(tmp_path / "run", 20, pool)
    searched(tmp_path / "run", 40, pool)
    assert sorted(pool.kept) == sorted(LOOKED_AT)
    assert pool.kept[39] - min(pool.kept.values()) <= 2
