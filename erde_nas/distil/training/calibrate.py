"""How a training step runs fastest on this machine, found by running it, once for each kind of network and batch."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from pydantic import TypeAdapter

from erde_nas.data.views import Views
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.training.compute import LAYOUTS, Compute, Precision
from erde_nas.distil.training.forward import MEMORY_FORMATS
from erde_nas.distil.training.graphs import fastest_step
from erde_nas.distil.training.step_runner import StepRunner
from erde_nas.distil.training.timing_cache import bf16_may_help, circumstances, remembered
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.optimizer import OptimizerSection

CPU_IMAGES = 64  # in a step of the calibration on a CPU, which a large teacher would make long otherwise
ROUNDS = 20  # at most
WORTH_IT = 0.95  # a way must take at most this much of an earlier one's time
BUSY = 1.25  # what more threads than one cost: on a busy machine they wait for each other, many times as long
_COMPUTE = TypeAdapter(Compute)


def calibrate(
    make_network: Callable[[], EarlyExitNetwork],
    views: Views,
    batch_size: int,
    seconds: float = 2.0,
    only: Compute | None = None,
) -> Compute:
    """The fastest way to run a training step here: fp32 or bf16, which layout, and on a CPU one thread or all.

    bf16 is not tried on a CPU without instructions for it. What was found is kept in the cache and not timed again. The
    ways alternate on throw-away networks for about `seconds`; medians decide, and a way must be at least 5 % faster
    to be preferred to an earlier one (fp32, one thread and channels last come first), more threads than one 25 %. The
    time is scaled to a step of `batch_size`. With `only`, no other way is tried: its time is found out.
    """
    on_cpu = views.device.type == "cpu"
    count = min(batch_size, len(views), CPU_IMAGES) if on_cpu else min(batch_size, len(views))
    images = views.batch(0, torch.arange(1, device=views.device))
    question = {"fastest": "training step", **circumstances(make_network(), images), "images": count}
    if only is not None:
        question["only"] = only.text
    found = remembered(question, lambda: asdict(_fastest(make_network, views, count, seconds, only)), _is_compute)
    compute = Compute(**found)
    return replace(compute, seconds_per_step=compute.seconds_per_step * batch_size / count)


def _is_compute(answer: Any) -> bool:
    """Whether a value from the cache says how to run a step. Raises ValueError for what can never be one."""
    return _COMPUTE.validate_python(answer).seconds_per_step > 0


def _fastest(
    make_network: Callable[[], EarlyExitNetwork], views: Views, count: int, seconds: float, only: Compute | None
) -> Compute:
    """The best of all ways, with the seconds of a step on `count` images."""
    on_cpu, all_threads = views.device.type == "cpu", torch.get_num_threads()
    threads = sorted({1, all_threads}) if on_cpu else [all_threads]
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if bf16_may_help(views.device) else ("fp32",)
    ways = [
        Compute(precision, count, 0.0, layout) for precision in precisions for count in threads for layout in LAYOUTS
    ]
    ways = ways if only is None else [only]
    steps = {way: _prepared(make_network(), views, way, count) for way in ways}
    times: dict[Compute, list[float]] = {way: [] for way in ways}
    try:
        for way in _alternated(ways, seconds):
            torch.set_num_threads(way.threads)
            times[way].append(_seconds(steps[way], views.device))
    finally:
        torch.set_num_threads(all_threads)
    medians = {way: statistics.median(t[1:]) for way, t in times.items()}
    cost = {way: medians[way] * (BUSY if on_cpu and way.threads > 1 else 1.0) for way in ways}
    best = ways[0]
    for way in ways[1:]:
        if cost[way] < WORTH_IT * cost[best]:
            best = way
    return replace(best, seconds_per_step=medians[best])


def _alternated(ways: list[Compute], seconds: float) -> Iterator[Compute]:
    """All ways in turn, at least twice: the first step of each is not counted."""
    begin = time.perf_counter()
    for done in range(ROUNDS):
        if done >= 2 and time.perf_counter() - begin >= seconds:
            return
        yield from ways


def _prepared(network: EarlyExitNetwork, views: Views, way: Compute, count: int) -> Callable[[], None]:
    """A step on `count` images, which trains `network` hardly at all."""
    network.train().to(memory_format=MEMORY_FORMATS[way.layout])  # type: ignore[call-overload]
    objective = cross_entropy_objective(len(network.arch.exits)).to(views.device)
    options = OptimizerSection(epochs=1, learning_rate=1e-6)
    runner = StepRunner(network, objective, options, steps=ROUNDS, compute=way)
    chosen, images = next(iter(views.batches(0, torch.arange(count, device=views.device), count)))
    runner.load(images, views.labels[chosen], None)
    return fastest_step(runner, torch.Generator(views.device))


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    begin = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin
