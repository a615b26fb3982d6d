"""One candidate of the search: measure, train briefly, judge -> Trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from erde_nas.distil.context import TrainingContext
from erde_nas.errors import ProcessLost, RuntimeRefused, TrainingFailed
from erde_nas.measurement.candidate_latency import LATENCY_SLACK, latency_per_exit
from erde_nas.networks.arch import Arch
from erde_nas.networks.health import check_exits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import exit_macs, parameter_count
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import accuracy_per_exit, cheapest_within, operating_curve
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.objectives import QUANTILES, expected_cost
from erde_nas.searching.objectives import cost_of_exits, limits_exceeded, objective_values, timed
from erde_nas.space.findings import Findings, Judged
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
    latency; the network is None then. Passing trouble is raised: ProcessLost, DeviceLost, and what says that memory is
    short.

    Latency comes first, as it does not depend on the weights: what is too slow by its first exit is not trained.
    """
    begin = time.perf_counter()
    found: Findings | None = None

    def failed(reason: str) -> tuple[Trial, None]:
        return Trial(number, arch.id, proposal.params, "failed", (), (), found, proposal.attrs, reason), None

    search, profiles = context.recipe.search, context.profiles
    try:
        images = context.dataset.validation.images
        per_exit_ms = latency_per_exit(
            context.build(arch), timed(search, profiles), images, context.reference_ms, context.exit_rule
        )
        found = Findings(arch, {name: tuple(cost) for name, cost in per_exit_ms.items()})
        if reason := too_slow(per_exit_ms, profiles):
            return failed(reason)
        network = make(arch, context)
        judged = judge(network, per_exit_ms, context)
    except ProcessLost:
        raise
    except (RuntimeRefused, TrainingFailed) as error:
        return failed(str(error).splitlines()[0] if str(error) else type(error).__name__)
    found = replace(found, judged=judged, seconds=round(time.perf_counter() - begin, 3))
    objectives, constraints = objective_values(judged, search, profiles), limits_exceeded(judged, profiles)
    return Trial(number, arch.id, proposal.params, "complete", objectives, constraints, found, proposal.attrs), network


def too_slow(per_exit_ms: Mapping[str, Sequence[float]], profiles: tuple[HardwareProfile, ...]) -> str:
    """Which limit on latency an architecture misses even where every image leaves at its first exit; or nothing."""
    for profile in profiles:
        limit = profile.limits.latency_ms
        if limit is not None and (first := per_exit_ms[profile.name][0]) > limit * LATENCY_SLACK:
            return (
                f"not trained: limits.latency_ms {limit:g} of {profile.name}, but the first exit takes {first:.4g} ms"
            )
    return ""


def judge(network: EarlyExitNetwork, per_exit_ms: Mapping[str, Sequence[float]], context: TrainingContext) -> Judged:
    """A trained network on validation. Raises TrainingFailed for a dead exit.

    `per_exit_ms` holds, under each profile, the latency of leaving at each exit.
    """
    validation, search = context.dataset.validation, context.recipe.search
    logits = all_logits(network, validation.images)
    check_exits(logits)
    macs = exit_macs(network.arch)
    costs: dict[str, Sequence[float]] = {"macs": tuple(map(float, macs)), **per_exit_ms}
    objectives = {profile.name: profile.objective for profile in context.profiles}
    chosen = cost_of_exits(search, context.profiles)
    objective = objectives.get(chosen, "mean")
    curve = operating_curve(logits, validation.labels, costs[chosen], context.exit_rule, objective)
    point = cheapest_within(curve, search.accuracy_tolerance)
    expected = {name: float(np.dot(point.exit_fractions, cost)) for name, cost in costs.items()}
    params = parameter_count(network)
    return Judged(
        val_accuracy=point.accuracy,
        thresholds=point.thresholds,
        exit_fractions=point.exit_fractions,
        val_exit_accuracy=accuracy_per_exit(logits, validation.labels),
        macs=expected.pop("macs"),
        macs_per_exit=macs,
        params=params,
        size_bytes=4 * params,
        latency_ms=expected,
        curve=tuple((point.accuracy, point.cost) for point in curve),
        objective_ms={
            name: float(expected_cost(point.exit_fractions, cost, objectives[name]))
            for name, cost in per_exit_ms.items()
            if objectives[name] in QUANTILES
        },
    )
