"""Forecasts against a device that takes exactly so long for each operation, and what a run does with them."""

import random
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from erde_nas.data.dataset import Dataset, Split
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.measurement.candidate_latency import LATENCY_SLACK
from erde_nas.measurement.latency_features import FEATURES, segment_features
from erde_nas.networks.arch import Arch
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.search import SearchSection
from erde_nas.recipe.space import SpaceSection
from erde_nas.report.facts import run_facts
from erde_nas.searching import evaluate, forecast
from erde_nas.searching.forecast import IN_A_ROW, LEAST_MEASURED, Forecast
from erde_nas.searching.limits import Screen
from erde_nas.space.findings import Findings
from erde_nas.space.space import Space
from erde_nas.space.trial import Proposal, Trial
from tests.report.conftest import model
from tests.space.builders import findings

SPACE = Space(
    SpaceSection(families=("resnet", "vgg"), depths=((1, 2), (1, 2)), widths=((8, 16, 32), (16, 32))), (1, 8, 8), 3
)
FEW = Split(np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64))
DATASET = Dataset("toy", FEW, FEW, FEW, ("a", "b", "c"), (0.5,), (0.2,), "")
COSTS = {"first segments": 0.02, "later segments": 0.005, "convolutions": 0.003, "convolution MACs": 1e-7}


def profile(name: str, limit: float | None) -> HardwareProfile:
    return HardwareProfile.model_validate({"name": name, "limits": {"latency_ms": limit}})


@cache
def device(arch: Arch) -> list[float]:
    """Milliseconds of leaving at each exit."""
    features = segment_features(EarlyExitNetwork(arch, DATASET.mean, DATASET.std))
    total = features.sum(0) * 0
    found = []
    for segment in features:
        total = total + segment
        found.append(sum(cost * total[FEATURES.index(name)] for name, cost in COSTS.items()))
    return found


def draw(count: int, seed: int = 0) -> list[Arch]:
    generator, found = random.Random(seed), dict[str, Arch]()
    while len(found) < count:
        arch = SPACE.decode({name: generator.choice(choices) for name, choices in SPACE.parameters.items()})
        found.setdefault(arch.id, arch)
    return list(found.values())


def trial(arch: Arch, **latencies: list[float]) -> Trial:
    """Failed or not: what was measured is what counts."""
    return Trial(0, arch.id, {}, "failed", findings=findings(arch=arch, per_exit_ms=latencies))


ARCHS = draw(60)
FIRST = sorted(device(arch)[0] for arch in ARCHS)
LIMIT = FIRST[30] / LATENCY_SLACK * 1.0001  # the faster half has a first exit that may be within it


def taught(archs: list[Arch], limit: float | None = LIMIT) -> Forecast:
    """A forecast that has seen `archs` on the device."""
    found = Forecast((profile("free", None), profile("mine", limit)), DATASET)
    for arch in archs:
        found.learn(trial(arch, free=[9.0] * len(arch.exits), mine=device(arch)))
    return found


def test_what_is_too_slow_on_the_device_is_what_is_hopeless() -> None:
    one, slow = taught(ARCHS[:30]), 0
    for arch in ARCHS[30:]:
        too_slow = bool(evaluate.too_slow({"free": [9.0], "mine": device(arch)}, (profile("mine", LIMIT),)))
        assert one.hopeless(arch) == (["mine"] if too_slow else [])
        slow += too_slow
    assert 5 < slow < 25
    assert len(one.skipped["mine"]) == slow


def test_nothing_is_predicted_from_a_few_candidates() -> None:
    assert max(device(arch)[0] for arch in ARCHS) > 2 * LIMIT
    slowest = max(ARCHS, key=lambda arch: device(arch)[0])
    others = [arch for arch in ARCHS if arch != slowest]
    assert taught(others[: LEAST_MEASURED - 1]).hopeless(slowest) == []
    assert taught(others[: LEAST_MEASURED - 1]).summary({}) == {}
    assert taught(others[:LEAST_MEASURED]).hopeless(slowest) == ["mine"]


def test_a_model_that_is_far_off_excludes_nothing() -> None:
    generator, one = np.random.default_rng(0), Forecast((profile("mine", 1e-6),), DATASET)
    for arch in ARCHS[:30]:
        one.learn(trial(arch, mine=generator.uniform(1, 9, len(arch.exits)).tolist()))
    assert one.summary({})["mine"].median_error > forecast.MOST_ERROR
    assert not any(one.hopeless(arch) for arch in ARCHS[30:])


def test_a_margin_as_large_as_the_models_error_is_left() -> None:
    """With noise of about 5 %, what is a little beyond the limit is measured; what is far beyond is not."""
    generator, one = np.random.default_rng(0), Forecast((profile("mine", LIMIT),), DATASET)
    for arch in ARCHS[:40]:
        one.learn(trial(arch, mine=[ms * generator.normal(1, 0.05) for ms in device(arch)]))
    margin = 1 + one.summary({})["mine"].p95_error
    assert 1.05 < margin < 1.3
    edge = LIMIT * LATENCY_SLACK * margin
    for arch in ARCHS[40:]:
        first = device(arch)[0]
        if not 0.96 * edge < first < 1.04 * edge:
            assert bool(one.hopeless(arch)) == (first > edge)


def test_the_order_of_trials_does_not_matter() -> None:
    noise = np.random.default_rng(0)
    trials = [trial(arch, mine=[ms * noise.normal(1, 0.05) for ms in device(arch)]) for arch in ARCHS[:20]]
    summaries = []
    for order in (trials, trials[::-1], [*trials[5:], *trials]):
        one = Forecast((profile("mine", LIMIT),), DATASET)
        for learnt in order:
            one.learn(learnt)
        summaries.append(one.summary({}))
    assert summaries[0] == summaries[1] == summaries[2]


def test_of_many_candidates_a_sample_is_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ones does not follow from their order, few of the later ones are among them, and it does as well."""
    fits, fit = list[int](), forecast.LatencyModel.fit
    monkeypatch.setattr(forecast, "MOST_MEASURED", 20)
    monkeypatch.setattr(
        forecast.LatencyModel, "fit", lambda features, ms: fits.append(len(features)) or fit(features, ms)
    )
    one, other, refits = taught([]), taught(ARCHS[49::-1]), 0
    for arch in ARCHS[:50]:
        one.learn(trial(arch, free=[9.0] * len(arch.exits), mine=device(arch)))
        before = len(fits)
        one.hopeless(ARCHS[0])
        refits += len(fits) > before
    assert max(fits) == 20
    assert refits < 45
    assert [one.hopeless(arch) for arch in ARCHS[50:]] == [other.hopeless(arch) for arch in ARCHS[50:]]
    assert [bool(one.hopeless(arch)) for arch in ARCHS[50:]] == [
        bool(evaluate.too_slow({"free": [9.0], "mine": device(arch)}, (profile("mine", LIMIT),))) for arch in ARCHS[50:]
    ]
    assert one.summary({})["mine"].n == 20


def test_no_prediction_alone_ends_a_search() -> None:
    archs = sorted(ARCHS, key=lambda arch: device(arch)[0])
    one = taught(archs[:20], limit=FIRST[0] / 2)
    answers = [bool(one.hopeless(archs[-1])) for _ in range(2 * IN_A_ROW + 2)]
    assert answers == [*[True] * IN_A_ROW, False] * 2


def test_without_a_limit_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [trial(arch, free=device(arch)) for arch in ARCHS]
    monkeypatch.setattr(forecast, "segment_features", None)
    one = Forecast((profile("free", None),), DATASET)
    for learnt in trials:
        one.learn(learnt)
    assert one.hopeless(ARCHS[0]) == []
    assert one.summary({}) == {}


def test_trials_without_a_latency_are_passed_over() -> None:
    one = Forecast((profile("mine", LIMIT),), DATASET)
    for arch in ARCHS[:30]:
        one.learn(Trial(0, arch.id, {}, "failed", reason="its worker died"))
    assert one.hopeless(ARCHS[30]) == []


def test_the_screen_counts_what_was_predicted() -> None:
    screen = Screen((profile("mine", LIMIT),), DATASET)
    for arch in ARCHS[:30]:
        screen.learn(trial(arch, mine=device(arch)))
    admitted = [screen.admits(arch) for arch in ARCHS[30:]]
    assert screen.summary() == (
        f" (of 30 that were drawn, limits.latency_ms {LIMIT:g} of mine (predicted) excludes {admitted.count(False)})"
    )


def test_the_summary_leaves_out_what_was_measured_after_all() -> None:
    found = taught(ARCHS[:30]).summary({"mine": [ARCHS[0].id, "aaaaaaaaaa", "bbbbbbbbbb"]})["mine"]
    assert (found.n, found.skipped) == (30, 2)
    assert found.tau == pytest.approx(1, abs=0.01)
    assert found.median_error < 1e-6
    assert found.tau_low <= found.tau <= found.tau_high


@pytest.mark.parametrize("limit", [1.0, None])
def test_a_failed_candidate_keeps_its_latency(monkeypatch: pytest.MonkeyPatch, limit: float | None) -> None:
    """Too slow to be trained, or trained in vain."""

    def diverges(arch: Arch, context: Any) -> Any:
        assert limit is None, "what is too slow is not trained"
        raise evaluate.TrainingFailed("the loss became nan")

    arch, mine = ARCHS[0], profile("mine", limit)
    recipe = SimpleNamespace(search=SearchSection())
    known = {"profiles": (mine,), "dataset": DATASET, "recipe": recipe, "reference_ms": None}
    context = SimpleNamespace(build=lambda arch: None, exit_rule=ENTROPY, **known)
    monkeypatch.setattr(evaluate, "latency_per_exit", lambda *_: {"mine": (2.0, 3.0)})
    failed, network = evaluate.evaluate(Proposal({}), arch, 0, cast(Any, context), diverges)
    assert network is None
    assert failed.state == "failed"
    assert failed.findings == Findings(arch, {"mine": (2.0, 3.0)})


def test_what_the_report_says() -> None:
    entry = {"n": 24, "median_error": 0.0612, "p95_error": 0.18, "tau": 0.93, "tau_low": 0.88, "tau_high": 0.96}
    facts = dict(
        run_facts(model({"latency_model": {"a": {**entry, "skipped": 1}, "b": {**entry, "n": 12, "skipped": 0}}}))
    )
    assert facts["Latency model"] == (
        "a: 1 candidate was neither measured nor trained, because the first exit was predicted to be beyond the limit; "
        "predictions, of which no latency in this report is one, were off by 6.1% in the median and by at most 18.0% "
        "at 19 of 20 first exits, with Kendall's tau 0.93 (95% interval 0.88 to 0.96), cross-validated over the 24 "
        "candidates that were measured; "
        "b: no candidate was excluded because of its predicted latency; "
        "predictions, of which no latency in this report is one, were off by 6.1% in the median and by at most 18.0% "
        "at 19 of 20 first exits, with Kendall's tau 0.93, cross-validated over the 12 candidates that were measured"
    )
    assert "Latency model" not in dict(run_facts(model({"latency_model": {}})))
    assert "Latency model" not in dict(run_facts(model({})))
