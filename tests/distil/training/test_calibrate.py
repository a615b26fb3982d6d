"""Calibration with a clock of its own: which way wins, and that what it measures is the step itself."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from erde_nas.data.views import Views
from erde_nas.distil.training import calibrate as module
from erde_nas.distil.training import timing_cache as timings
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.compute import Compute
from erde_nas.networks.network import EarlyExitNetwork
from tests.networks.builders import build, small_arch

LAST, CONTIGUOUS = "channels_last", "contiguous"
Way = tuple[str, int, str]


def times(fp32: tuple[float, float], bf16: tuple[float, float], *, contiguous: float) -> dict[Way, float]:
    """Seconds of a step in fp32 and in bf16, each with one thread and with three; `contiguous` multiplies them."""
    by_threads = {("fp32", 1): fp32[0], ("fp32", 3): fp32[1], ("bf16", 1): bf16[0], ("bf16", 3): bf16[1]}
    factors = {LAST: 1.0, CONTIGUOUS: contiguous}
    return {(*way, layout): t * factor for way, t in by_threads.items() for layout, factor in factors.items()}


def test_it_runs_here_and_leaves_threads_and_random_state_alone(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork]
) -> None:
    state = torch.get_rng_state()
    compute = calibrate(make_network, make_views(), 16, seconds=0.05)
    make_network()  # the one thing that seeds the generator here
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    make_network()
    assert torch.equal(after, torch.get_rng_state())
    assert compute.precision in ("fp32", "bf16")
    assert compute.layout in (LAST, CONTIGUOUS)
    assert compute.threads == torch.get_num_threads() == 1
    assert 0 < compute.seconds_per_step < 60


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        (times((4.0, 3.0), (2.0, 1.0), contiguous=2), ("bf16", 3, LAST)),
        (times((4.0, 2.0), (3.0, 9.0), contiguous=2), ("fp32", 3, LAST)),
        (times((1.0, 0.96), (0.97, 0.96), contiguous=1), ("fp32", 1, LAST)),  # all within 5 %
        (times((1.0, 0.8), (0.9, 0.8), contiguous=1), ("bf16", 1, LAST)),  # threads within 25 %
        (times((1.0, 0.7), (0.96, 2.0), contiguous=1), ("fp32", 3, LAST)),
        (times((4.0, 3.0), (2.0, 1.0), contiguous=0.5), ("bf16", 3, CONTIGUOUS)),
        (times((1.0, 2.0), (0.9, 2.0), contiguous=0.96), ("bf16", 1, LAST)),  # the layouts are within 5 %
        ({**times((4.0, 4.0), (3.0, 4.0), contiguous=1.5), ("fp32", 1, CONTIGUOUS): 2.0}, ("fp32", 1, CONTIGUOUS)),
    ],
)
def test_it_finds_the_fastest_way(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[Way, float],
    best: Way,
) -> None:
    """With a clock that is turned by the steps; the first step of each way takes ten times as long."""
    now, threads, steps = 0.0, 3, dict.fromkeys(seconds, 0)

    def prepared(network: EarlyExitNetwork, views: Views, way: Compute, count: int) -> Callable[[], None]:
        def step() -> None:
            nonlocal now
            key = (way.precision, threads, way.layout)
            now += seconds[key] * (1 if steps[key] else 10)
            steps[key] += 1

        return step

    def set_threads(count: int) -> None:
        nonlocal threads
        threads = count

    monkeypatch.setattr(module, "_prepared", prepared)
    monkeypatch.setattr(module, "bf16_may_help", lambda device: True)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", set_threads)
    compute = calibrate(make_network, make_views(), 32, seconds=100.0)
    assert (compute.precision, compute.threads, compute.layout) == best
    assert compute.seconds_per_step == pytest.approx(seconds[best])
    assert threads == 3
    assert len(set(steps.values())) == 1  # the ways alternate
    assert steps[best] >= 2


def test_the_time_is_that_of_a_whole_batch(
    make_views: Callable[..., Views], make_network: Callable[..., EarlyExitNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 64 images are timed on a CPU: a step of 1 s means 4 s for 256 images, of which this set has 96."""
    now, counts = 0.0, set()

    def prepared(network: EarlyExitNetwork, views: Views, way: Compute, count: int) -> Callable[[], None]:
        def step() -> None:
            nonlocal now
            counts.add(count)
            now += 1.0

        return step

    monkeypatch.setattr(module, "_prepared", prepared)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    assert calibrate(make_network, make_views(), 256, seconds=0.0).seconds_per_step == pytest.approx(4.0)
    assert counts == {64}


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Way]:
    """The ways that were timed, a step each; a step takes a second."""
    steps: list[Way] = []
    clock = itertools.count()

    def prepared(network: EarlyExitNetwork, views: Views, way: Compute, count: int) -> Callable[[], None]:
        return lambda: steps.append((way.precision, way.threads, way.layout))

    monkeypatch.setattr(module, "_prepared", prepared)
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    return steps


@pytest.mark.parametrize(("features", "precisions"), [(("avx2",), {"fp32"}), (("amx_bf16",), {"fp32", "bf16"})])
def test_bf16_is_timed_only_where_the_cpu_has_it(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    monkeypatch: pytest.MonkeyPatch,
    tried: list[Way],
    features: tuple[str, ...],
    precisions: set[str],
) -> None:
    monkeypatch.setattr(timings, "cpu_features", lambda: features)
    calibrate(make_network, make_views(), 16)
    assert {precision for precision, _, _ in tried} == precisions


def test_the_same_question_is_timed_once(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    monkeypatch: pytest.MonkeyPatch,
    tried: list[Way],
    cache: Path,
) -> None:
    """Not for another seed either; but for another batch, network, CPU, torch, and after damage."""
    first = calibrate(make_network, make_views(), 16)
    assert tried

    def timed(make: Callable[[], EarlyExitNetwork] = make_network, batch: int = 16) -> bool:
        tried.clear()
        found = calibrate(make, make_views(), batch)
        assert tried or batch != 16 or found == first
        return bool(tried)

    assert not timed()
    assert not timed(lambda: make_network(seed=1))
    assert timed(batch=24)
    assert not timed(batch=24)
    assert timed(lambda: build(small_arch("resnet", ("gap",))))
    for module_, name, value in (
        (timings, "cpu_name", lambda: "another CPU"),
        (timings, "cpu_features", lambda: ("avx2", "amx_bf16", "sve")),
        (torch, "__version__", "0.1"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module_, name, value)
            assert timed()
    assert not timed()
    entries = {path: path.read_text() for path in (cache / "timings").iterdir()}
    compute = '{"precision": "fp32", "threads": 0, "seconds_per_step": 1.0, "layout": "channels_last"}'
    for damage in ("", "[]", '{"question": 1}', "null", "answer", compute):
        for path, text in entries.items():
            question = json.loads(text)["question"]
            kept = {"question": question, "answer": 3 if damage == "answer" else json.loads(compute)}
            path.write_text(json.dumps(kept) if damage in ("answer", compute) else damage)
        assert timed()
        assert not timed()


def test_a_cache_that_cannot_be_written_costs_only_time(
    make_views: Callable[..., Views],
    make_network: Callable[..., EarlyExitNetwork],
    monkeypatch: pytest.MonkeyPatch,
    tried: list[Way],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        tried.clear()
        calibrate(make_network, make_views(), 16)
        assert tried
