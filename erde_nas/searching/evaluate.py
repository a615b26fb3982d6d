"""One candidate of the search: measure, train briefly, judge -> Trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from erde_nas.distil.context import TrainingContext
from erde_nas.errors import RuntimeRefused, TrainingFailed
from erde_nas.measurement.brief import LATENCY_SLACK, latency_per_exit
from erde_nas.networks.arch import Arch
from erde_nas.networks.health import check_exits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import exit_macs, parameter_count
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import cheapest_within, operate, operating_curve
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.searching.objectives import limits_exceeded, objective_values, optimised, timed
from erde_nas.space.trial import Proposal, Trial

Make = Callable[[Arch, TrainingContext], EarlyExitNetwork]
"""Makes a candidate's trained network, as the recipe's evaluator wants it."""


def train_briefly(arch: Arch, context: TrainingContext) -> EarlyExitNetwork:
    """A student trained as the recipe's `train` section says. Raises TrainingFailed."""
    network = context.build(arch)
    context.distil(network, context.recipe.train)
    return network


def evaluate(
    proposal: Proposal,
    arch: Arch,
    number: int,
    context: TrainingContext,
    make: Make = train_briefly,
) -> tuple[Trial, EarlyExitNetwork | None]:
    """Make and measure one candidate. A failure is a trial too, with its reason and, as far as it was measured, its
    latency; the network is None then.

    Latency comes first, as it does not depend on the weights: what is too slow by its first exit is not trained.
    """
    begin, measured = time.perf_counter(), dict[str, Any]()

    def failed(reason: str) -> tuple[Trial, None]:
        return Trial(number, arch.id, proposal.params, "failed", (), (), measured, proposal.attrs, reason), None

    try:
        profiles, images = timed(context.recipe.search, context.profiles), context.dataset.validation.images
        per_exit_ms = latency_per_exit(context.build(arch), profiles, images, context.reference_ms)
        measured = latency_metrics(arch, per_exit_ms)
        if reason := too_slow(per_exit_ms, context.profiles):
            return failed(reason)
        network = make(arch, context)
        metrics, objectives, constraints = judge(network, per_exit_ms, context)
    except (RuntimeRefused, TrainingFailed, torch.OutOfMemoryError, MemoryError) as error:
        return failed(str(error).splitlines()[0] if str(error) else type(error).__name__)
    metrics["seconds"] = round(time.perf_counter() - begin, 3)
    trial = Trial(number, arch.id, proposal.params, "complete", objectives, constraints, metrics, proposal.attrs)
    return trial, network


def latency_metrics(arch: Arch, per_exit_ms: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """What every trial that was measured says, also one that failed."""
    return {"arch": arch.to_dict(), "latency_per_exit_ms": {name: list(cost) for name, cost in per_exit_ms.items()}}


def too_slow(per_exit_ms: Mapping[str, Sequence[float]], profiles: tuple[HardwareProfile, ...]) -> str:
    """Which limit on latency an architecture misses even where every image leaves at its first exit; or nothing."""
    for profile in profiles:
        limit = profile.limits.latency_ms
        if limit is not None and (first := per_exit_ms[profile.name][0]) > limit * LATENCY_SLACK:
            return (
                f"not trained: limits.latency_ms {limit:g} of {profile.name}, but the first exit takes {first:.4g} ms"
            )
    return ""


def judge(
    network: EarlyExitNetwork, per_exit_ms: Mapping[str, Sequence[float]], context: TrainingContext
) -> tuple[dict[str, Any], tuple[float, ...], tuple[float, ...]]:
    """Metrics, objectives and constraints of a trained network, on validation. Raises TrainingFailed for a dead exit.

    `per_exit_ms` holds, under each profile, the latency of leaving at each exit.
    """
    validation = context.dataset.validation
    logits = all_logits(network, validation.images)
    check_exits(logits)
    macs = exit_macs(network.arch)
    costs: dict[str, Sequence[float]] = {"macs": tuple(map(float, macs)), **per_exit_ms}
    goals = [goal for goal in context.recipe.search.objectives if goal in ("macs", "latency")]
    first = optimised(context.recipe.search, context.profiles)[0].name if goals and goals[0] == "latency" else "macs"
    curve = operating_curve(logits, validation.labels, costs[first])
    point = cheapest_within(curve, context.recipe.search.accuracy_tolerance)
    expected = {name: operate(logits, validation.labels, cost, point.thresholds).cost for name, cost in costs.items()}
    params = parameter_count(network)
    metrics = {
        **latency_metrics(network.arch, per_exit_ms),
        "val_accuracy": point.accuracy,
        "thresholds": list(point.thresholds),
        "exit_fractions": list(point.exit_fractions),
        "val_exit_accuracy": [float(a) for a in (logits.argmax(-1) == validation.labels).mean(1)],
        "macs": expected.pop("macs"),
        "macs_per_exit": list(macs),
        "params": params,
        "size_bytes": 4 * params,
        "latency_ms": expected,
        "curve": [[p.accuracy, p.cost] for p in curve],
    }
    return (
        metrics,
        objective_values(point, metrics, context.recipe.search, context.profiles),
        limits_exceeded(metrics, context.profiles),
    )
