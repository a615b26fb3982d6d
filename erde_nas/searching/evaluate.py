"""One candidate of the search: measure, train briefly, judge -> Trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from erde_nas.distil.context import Shared
from erde_nas.errors import RuntimeRefused, TrainingFailed, UserError
from erde_nas.measurement.brief import LATENCY_SLACK, latency_per_exit
from erde_nas.networks.arch import Arch
from erde_nas.networks.health import check_exits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import exit_macs, parameter_count
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.operating_points import OperatingPoint, cheapest_within, operate, operating_curve
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.recipe.recipe import SearchSection
from erde_nas.space.trial import Proposal, Trial

Make = Callable[[Arch, Shared], EarlyExitNetwork]
"""Makes a candidate's trained network, as the recipe's evaluator wants it."""


def train_briefly(arch: Arch, shared: Shared) -> EarlyExitNetwork:
    """A student trained as the recipe's `train` section says. Raises TrainingFailed."""
    network = shared.build(arch)
    shared.distil(network, shared.recipe.train)
    return network


def evaluate(
    proposal: Proposal,
    arch: Arch,
    number: int,
    shared: Shared,
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
        profiles, images = timed(shared.recipe.search, shared.profiles), shared.dataset.validation.images
        per_exit_ms = latency_per_exit(shared.build(arch), profiles, images, shared.reference_ms)
        measured = latency_metrics(arch, per_exit_ms)
        if reason := too_slow(per_exit_ms, shared.profiles):
            return failed(reason)
        network = make(arch, shared)
        metrics, objectives, constraints = judge(network, per_exit_ms, shared)
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
    network: EarlyExitNetwork, per_exit_ms: Mapping[str, Sequence[float]], shared: Shared
) -> tuple[dict[str, Any], tuple[float, ...], tuple[float, ...]]:
    """Metrics, objectives and constraints of a trained network, on validation. Raises TrainingFailed for a dead exit.

    `per_exit_ms` holds, under each profile, the latency of leaving at each exit.
    """
    validation = shared.dataset.validation
    logits = all_logits(network, validation.images)
    check_exits(logits)
    macs = exit_macs(network.arch)
    costs: dict[str, Sequence[float]] = {"macs": tuple(map(float, macs)), **per_exit_ms}
    goals = [goal for goal in shared.recipe.search.objectives if goal in ("macs", "latency")]
    first = optimised(shared.recipe.search, shared.profiles)[0].name if goals and goals[0] == "latency" else "macs"
    curve = operating_curve(logits, validation.labels, costs[first])
    point = cheapest_within(curve, shared.recipe.search.accuracy_tolerance)
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
    return metrics, _objectives(point, metrics, shared), limits_exceeded(metrics, shared.profiles)


def _objectives(point: OperatingPoint, metrics: dict[str, Any], shared: Shared) -> tuple[float, ...]:
    values: list[float] = []
    for goal in shared.recipe.search.objectives:
        if goal == "error":
            values.append(1 - point.accuracy)
        elif goal == "latency":
            profiles = optimised(shared.recipe.search, shared.profiles)
            values += [metrics["latency_ms"][profile.name] for profile in profiles]
        else:
            values.append(float(metrics[goal]))
    return tuple(values)


def objective_names(search: SearchSection, profiles: tuple[HardwareProfile, ...]) -> list[str]:
    """The objectives one by one: `latency` stands for one per optimised profile."""
    latencies = [f"latency_ms:{profile.name}" for profile in optimised(search, profiles)]
    return [name for goal in search.objectives for name in (latencies if goal == "latency" else [goal])]


def optimised(search: SearchSection, profiles: tuple[HardwareProfile, ...]) -> tuple[HardwareProfile, ...]:
    """The profiles whose latency the search minimises. Raises UserError where the recipe names one that is not used."""
    if search.latency_of is None:
        return profiles
    names = [profile.name for profile in profiles]
    for name in search.latency_of:
        if name not in names:
            raise UserError(
                f"the recipe's search.latency_of names '{name}', but the profiles of this run are {', '.join(names)}; "
                f"name one of those, or add --profile {name}"
            )
    return tuple(profile for profile in profiles if profile.name in search.latency_of)


def timed(search: SearchSection, profiles: tuple[HardwareProfile, ...]) -> tuple[HardwareProfile, ...]:
    """The profiles under which candidates are measured during the search: the optimised ones, and those that limit
    latency. The others wait for the finished students."""
    wanted = optimised(search, profiles)
    return tuple(p for p in profiles if p in wanted or p.limits.latency_ms is not None)


def limits_exceeded(metrics: dict[str, Any], profiles: tuple[HardwareProfile, ...]) -> tuple[float, ...]:
    """For every limit of every profile, by how much of itself it is exceeded; at most 0 where it is kept.

    The file's size is taken for that of its weights; the file itself is held to the limit once it is written.
    """
    excess = []
    for profile in profiles:
        limits = profile.limits
        if limits.latency_ms is not None:
            excess.append(metrics["latency_ms"][profile.name] / limits.latency_ms - 1)
        values = {**metrics, "size_bytes": metrics["params"] * profile.bytes_per_parameter}
        for key in ("macs", "params", "size_bytes"):
            limit = getattr(limits, key)
            if limit is not None:
                excess.append(values[key] / limit - 1)
    return tuple(excess)
